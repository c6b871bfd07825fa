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


CHOSEN = (
    _reason(
        "Each server names the extensions that it has; here no CUDA memory",
        ("body.extensions",),
        "server metadata",
        "gRPC server metadata",
    ),
    _reason(
        "A slash at the end of `/v2` is allowed",
        _STATUS,
        "server metadata, with a slash",
    ),
    _reason(
        "`binary_data_output` of the request counts for each output that does not say `binary_data` itself, as the "
        "extension's text has it; Triton forgets it as soon as outputs are named",
        ("header length is told", *_BODY),
        "JSON in, an output refuses the binary form",
    ),
    _reason(
        "FP16 and BF16 are taken as numbers in JSON; Triton wants them binary", _STATUS, "FP16 in JSON", "BF16 in JSON"
    ),
)
"""What could be as in Triton, and would serve people worse."""
CONTRACT = (
    _reason(
        "Health has the JSON object that the Open Inference Protocol describes and KServe's client reads (DESIGN, "
        "section 9); Triton answers with an empty body",
        _BODY,
        "server live",
        "server ready",
        "model ready",
        "version ready",
        "server ready with an unloaded model",
    ),
    _reason(
        "A whole number may be written as a fraction (`1.0`), as clients made of the protocol's description do: they "
        "are to be served",
        _STATUS,
        "whole numbers written as fractions for INT32",
    ),
    _reason(
        "Bad input gets an error. A number that its datatype has not: Triton takes its lowest bits and computes with "
        "those. More raw contents than inputs: Triton passes over what is left",
        _STATUS,
        "a number that INT8 has not",
        "a number that INT32 has not",
        "gRPC, more raw contents than inputs",
    ),
    _reason(
        "An error is JSON with a word for programs; Triton's is none there, since it repeats the bytes",
        ("error",),
        "text that is not UTF-8",
    ),
    _reason(
        "A caller's mistake is the caller's error, 400 or 404; Triton 2.51 calls what it cannot parse, or does not "
        "find, its own error, 500 or `INTERNAL`",
        _STATUS,
        "load an unknown model",
        "gRPC load of an unknown model",
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
    ),
    _reason("This ends Triton 2.51, which then answers nobody; here it is refused", _STATUS, "classes of BYTES"),
)
"""What this project's own contract demands, and Triton does not do: bad input is the caller's error and never a 5xx, an
error has its word, health is JSON, clients made of the protocol's description are served."""
REASONS: tuple[Reason, ...] = (*CHOSEN, *CONTRACT)
