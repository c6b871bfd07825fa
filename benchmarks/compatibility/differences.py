"""Why answers differ: each reason with the requests and the facts that it explains."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

_INDEX = re.compile(r"\[\d+\]")


class Reason(NamedTuple):
    """A reason for differences.

    Attributes:
        why: in a sentence or two, for the documentation.
        facts: patterns of the facts that may differ, without indices of lists.
        requests: by name, whose answers may differ so.
    """

    why: str
    facts: tuple[str, ...]
    requests: frozenset[str]

    def covers(self, fact: str) -> bool:
        """Whether it explains that this fact differs."""
        name = _INDEX.sub("", fact)
        return any(fnmatchcase(name, pattern) for pattern in self.facts)


_STATUS = ("status", "code")
_BODY = ("body", "body.*", "content-type")


def _reason(why: str, facts: tuple[str, ...], *requests: str) -> Reason:
    return Reason(why, facts, frozenset(requests))


_DELIBERATE = (
    _reason(
        "Triton answers health, and what it has nothing to say about, with an empty body. Here it is the JSON object "
        "that the Open Inference Protocol describes, or an empty one",
        _BODY,
        "server live",
        "server ready",
        "model ready",
        "version ready",
        "server ready with an unloaded model",
        "shared memory, unregister all",
        "shared memory, unregister an unknown region",
        "CUDA memory, unregister all",
    ),
    _reason(
        "Each server names the extensions that it has; here no sequences, no CUDA memory",
        ("body.extensions",),
        "server metadata",
        "gRPC server metadata",
    ),
    _reason("A slash at the end of `/v2` is allowed", _STATUS, "server metadata, with a slash"),
    _reason(
        "A configuration has what is in force here: no pinned memory, since there is no GPU; instances under another "
        "name; batching is always on",
        ("body*.optimization*", "body*.instance_group*", "body*.dynamic_batching*"),
        "config of simple",
        "config of a version",
        "config of mixed",
        "config of scores",
        "config of numbers",
        "gRPC config",
    ),
    _reason(
        "Outputs come in the order in which they were asked for; in Triton the backend decides. Clients look them up "
        "by name",
        ("body.outputs*", "body.raw_output_contents"),
        "outputs in another order",
        "gRPC, outputs in another order",
    ),
    _reason(
        "`binary_data_output` of the request counts for each output that does not say `binary_data` itself, as the "
        "extension's text has it; Triton forgets it as soon as outputs are named",
        ("header length is told", *_BODY),
        "JSON in, an output refuses the binary form",
    ),
    _reason(
        "A binary output of no bytes is in binary form too; Triton tells of no header length then",
        ("header length is told", "content-type"),
        "binary, no rows, of a model without batches",
    ),
    _reason(
        "A whole number may be written as a fraction (`1.0`), as clients made of the protocol's description do",
        _STATUS,
        "whole numbers written as fractions for INT32",
    ),
    _reason(
        "A number that its datatype has not is refused; Triton takes its lowest bits and computes with those",
        _STATUS,
        "a number that INT8 has not",
        "a number that INT32 has not",
    ),
    _reason(
        "FP16 and BF16 are taken as numbers in JSON; Triton wants them binary", _STATUS, "FP16 in JSON", "BF16 in JSON"
    ),
    _reason(
        "More rows than a batch takes are no error: the request runs alone",
        _STATUS,
        "more rows than a batch takes",
        "gRPC, more rows than a batch takes",
    ),
    _reason(
        "What contradicts itself is refused; Triton answers something",
        _STATUS,
        "the same output twice",
        "gRPC, more raw contents than inputs",
    ),
    _reason(
        "No classes asked for is no classification, over gRPC as over HTTP; Triton refuses it over gRPC only",
        _STATUS,
        "gRPC, no classes",
    ),
    _reason(
        "A model, or a version of it, that nobody serves is not found: 404, `NOT_FOUND`. Triton says so to an "
        "inference, and tells other calls 400, `INTERNAL`, or that all is well",
        _STATUS,
        "ready of an unknown model",
        "ready of an unknown version",
        "statistics of an unknown model",
        "statistics of an unknown version",
        "trace settings of an unknown model",
        "gRPC statistics of an unknown model",
        "load an unknown model",
        "unload an unknown model",
        "gRPC load of an unknown model",
        "gRPC unload of an unknown model",
    ),
    _reason(
        "A setting that is not known is refused, since it is likely misspelt; Triton passes over it",
        _STATUS,
        "an unknown log setting",
        "an unknown trace setting",
    ),
    _reason("`generate` is not served, so there is no such path", _STATUS, "generate, for texts"),
    _reason(
        "Triton's Python backend counts a run that failed as a success",
        ("body.model_stats.*",),
        "statistics of a model that failed once",
        "statistics of a version",
        "gRPC statistics",
    ),
    _reason("Triton's own error is no JSON there, since it repeats the bytes", ("error",), "text that is not UTF-8"),
    _reason(
        "A version may be a role's name here, so that one which is no number is only one that does not serve",
        _STATUS,
        "gRPC, a version that is no number",
    ),
)
_OURS = (
    _reason(
        "Answers are not compressed, which every client understands", ("content-encoding",), "gzip answer asked for"
    ),
    _reason(
        "A shortcoming: the refusal of an unloaded model's readiness has no `error`",
        ("error",),
        "ready of an unloaded model",
    ),
    _reason(
        "A shortcoming: the index has an empty `reason` where Triton leaves the member out",
        ("body.reason",),
        "repository index",
        "repository index, empty object",
        "repository index, ready only",
        "repository index with an unloaded model",
        "repository index with an unloaded model, ready only",
    ),
)
_MISTAKES = _reason(
    "A caller's mistake is the caller's error, 400; Triton 2.51 calls what it cannot parse its own error, 500",
    _STATUS,
    "too few elements",
    "too many elements",
    "negative dimension",
    "a dimension that is no whole number",
    "a dimension that is a text",
    "text for numbers",
    "true for numbers",
    "null among numbers",
    "fractions for INT32",
    "a number below nothing for UINT8",
    "a number that UINT64 has not",
    "numbers for BYTES",
    "numbers for BOOL",
    "data is no list",
    "data is null",
    "an output without a name",
    "classification is a text",
    "binary_data is no truth value",
    "no JSON",
    "half of a JSON body",
    "JSON and more after it",
    "a list instead of an object",
    "an empty object",
    "null instead of an object",
    "inputs is an object",
    "inputs is null",
    "an input without name",
    "an input without datatype",
    "an input without shape",
    "id is a number",
    "parameters is a list",
    "outputs is an object",
    "shape is a number",
    "datatype is a number",
    "name is a number",
    "log settings that are no JSON",
    "a log setting of another type",
    "shared memory, a key that is not there",
    "header length too short",
    "binary size is a text",
    "binary size is negative",
    "load with a configuration that is no JSON",
    "load with an unknown parameter",
)
_ENDS = _reason("This ends Triton 2.51, which then answers nobody; here it is refused", _STATUS, "classes of BYTES")
UNFOLLOWED = (_MISTAKES, _ENDS)
"""What no server is to do that keeps the rule that a caller's mistake is never a 5xx."""
REASONS: tuple[Reason, ...] = (*_OURS, *_DELIBERATE, *UNFOLLOWED)
