"""Requests over HTTP that a client of Triton may make."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

from compatibility.forms import LENGTH, NUMBERS, Http, binary, framed, get, infer, packed, pair, post, tensor, x

_BOTH = [{"name": "OUTPUT0"}, {"name": "OUTPUT1"}]


def _server() -> list[Http]:
    return [
        get("server live", "/v2/health/live"),
        get("server ready", "/v2/health/ready"),
        get("server metadata", "/v2"),
        get("server metadata, with a slash", "/v2/"),
        get("model ready", "/v2/models/simple/ready"),
        get("version ready", "/v2/models/simple/versions/1/ready"),
        *[get(f"metadata of {m}", f"/v2/models/{m}") for m in ("simple", "simple_string", "half", "mixed", "scores")],
        get("metadata of a version", "/v2/models/simple/versions/1"),
        get("config of simple", "/v2/models/simple/config"),
        get("config of a version", "/v2/models/simple/versions/1/config"),
        get("config of mixed", "/v2/models/mixed/config"),
        get("config of scores", "/v2/models/scores/config"),
        post("repository index", "/v2/repository/index"),
        post("repository index, empty object", "/v2/repository/index", {}),
        post("repository index, ready only", "/v2/repository/index", {"ready": True}),
        get("trace settings", "/v2/trace/setting"),
        get("trace settings of a model", "/v2/models/simple/trace/setting"),
        get("log settings", "/v2/logging"),
        post("log settings, changed", "/v2/logging", {"log_verbose_level": 0, "log_info": True}),
        get("shared memory status", "/v2/systemsharedmemory/status"),
        post("shared memory, unregister all", "/v2/systemsharedmemory/unregister"),
        post("shared memory, unregister an unknown region", "/v2/systemsharedmemory/region/nobody/unregister"),
        get("CUDA memory status", "/v2/cudasharedmemory/status"),
        post("CUDA memory, unregister all", "/v2/cudasharedmemory/unregister"),
    ]


def _json() -> list[Http]:
    a, b = pair()
    return [
        infer("INT32", "simple", a, b),
        infer("inputs in another order", "simple", b, a),
        infer("of a version", "simple/versions/1", a, b),
        infer("three rows", "simple", *pair(rows=3)),
        infer("eight rows, all that a batch takes", "simple", *pair(rows=8)),
        infer("an id is echoed", "simple", a, b, id="mine-1"),
        infer("an empty id", "simple", a, b, id=""),
        infer("an id that is not ASCII", "simple", a, b, id="schön"),
        infer("one output", "simple", a, b, outputs=[{"name": "OUTPUT1"}]),
        infer("outputs in another order", "simple", a, b, outputs=_BOTH[::-1]),
        infer("no outputs asked for", "simple", a, b, outputs=[]),
        infer("nested data", "simple", {**a, "data": [a["data"]]}, {**b, "data": [b["data"]]}),
        infer("INT8", "simple_int8", *pair("INT8")),
        infer("BYTES", "simple_string", *pair("BYTES")),
        infer("two datatypes", "mixed", tensor("number", "FP32", [1, 3], [0.5, -1, 3]), _words()),
        infer("FP32", "passing", x("FP32", [0.1, -2.5, 3e38, 0])),
        infer("FP32, whole numbers", "passing", x("FP32", [1, 2, 3, 4])),
        infer("FP32, rows not told by a batch", "passing", x("FP32", list(range(12)), [3, 4])),
        infer("BOOL", "flags", x("BOOL", [True, False, True, True])),
        infer("INT64, large", "wide", x("INT64", [2**62, -(2**63), 0, -1])),
        infer("BYTES, not ASCII", "text", x("BYTES", ["", "schön", "日本", '"\\\n'])),
        infer("no rows, of a model without batches", "passing", x("FP32", [], [0, 4])),
        infer("priority and timeout", "simple", a, b, parameters={"priority": 0, "timeout": 5_000_000}),
        infer("parameters of the caller's own", "simple", a, b, parameters={"mine": "x", "n": 3, "yes": True}),
        infer("a parameter of an input", "passing", x("FP32", [1, 2, 3, 4], mine=1)),
        infer("a priority", "simple", a, b, parameters={"priority": 1}),
        infer("a sequence's parameters, of a model without sequences", "simple", a, b,
              parameters={"sequence_id": 5, "sequence_start": True, "sequence_end": True}),
        infer("members that nobody knows", "simple", a, b, nobody={"knows": "me"}),
        infer("two classes of four", "scores", x("FP32", [1, 4, 2, 3]), outputs=[_classes(2)]),
        infer("more classes than there are", "scores", x("FP32", [1, 4, 2, 3]), outputs=[_classes(9)]),
        infer("classes of two rows", "scores", x("FP32", [1, 4, 2, 3, 8, 7, 6, 5], [2, 4]), outputs=[_classes(1)]),
        infer("classes without labels", "simple", a, b, outputs=[_classes(3, "OUTPUT0")]),
        replace(infer("another content type", "simple", a, b), headers={"Content-Type": "text/plain"}),
        replace(infer("charset told", "simple", a, b), headers={"Content-Type": "application/json; charset=utf-8"}),
        replace(infer("a query behind the path", "simple", a, b), path="/v2/models/simple/infer?mine=1"),
    ]  # fmt: skip


def _words() -> dict[str, object]:
    return tensor("word", "BYTES", [1, 2], ["a", "b"])


def _classes(count: int, name: str = "y") -> dict[str, object]:
    return {"name": name, "parameters": {"classification": count}}


def _binary() -> list[Http]:
    a, b = pair()
    asked = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}, {"name": "OUTPUT1"}]
    ones = packed("FP32", [1, 2, 3, 4])
    return [
        binary("binary INT32", "simple", a, b),
        binary("binary, an id is echoed", "simple", a, b, id="mine-2"),
        binary("binary in, JSON out", "simple", a, b, outputs=[{"name": "OUTPUT0"}]),
        binary("binary in, one output in each form", "simple", a, b, outputs=asked),
        infer("JSON in, binary out", "simple", a, b, parameters={"binary_data_output": True}),
        infer("JSON in, one output in each form", "simple", a, b, outputs=asked),
        infer("JSON in, an output refuses the binary form", "simple", a, b, parameters={"binary_data_output": True},
              outputs=[{"name": "OUTPUT0", "parameters": {"binary_data": False}}, {"name": "OUTPUT1"}]),
        binary("binary INT8", "simple_int8", *pair("INT8")),
        binary("binary BYTES", "simple_string", *pair("BYTES")),
        binary("binary FP32, two rows", "passing", x("FP32", list(range(8)), [2, 4])),
        binary("binary FP16", "half", x("FP16", [0.5, -1, 65504, 0])),
        binary("binary BF16", "brain", x("BF16", [0x3F80, 0x4000, 0xBF80, 0])),
        binary("binary BOOL", "flags", x("BOOL", [True, False, True, False])),
        binary("binary INT64", "wide", x("INT64", [2**62, -(2**63), 0, -1])),
        binary("binary BYTES, texts of many sizes", "text", x("BYTES", ["", "a", "schön", "x" * 500])),
        binary("binary NaN and infinities", "passing", x("FP32", [float("nan"), float("inf"), -float("inf"), 0])),
        binary("binary classes", "scores", x("FP32", [1, 4, 2, 3]),
               outputs=[{"name": "y", "parameters": {"classification": 2, "binary_data": True}}]),
        binary("binary, no rows, of a model without batches", "passing", x("FP32", [], [0, 4])),
        framed("one input in JSON, one in binary", "simple", {"inputs": [a, _sized(b, 64)]}, packed("INT32", [1] * 16)),
        framed("header length of a whole JSON body", "simple", {"inputs": [a, b]}, b""),
        Http("raw body", "POST", "/v2/models/passing/infer", ones, {LENGTH: "0"}),
        Http("raw body of text", "POST", "/v2/models/text/infer", b"one text", {LENGTH: "0"}),
    ]  # fmt: skip


def _sized(given: dict[str, object], size: int) -> dict[str, object]:
    return {**{k: v for k, v in given.items() if k != "data"}, "parameters": {"binary_data_size": size}}


def _numbers() -> list[Http]:
    """Every other datatype in every form, at the ends of its range."""
    given = [tensor(kind.lower(), kind, [1, 2], data) for kind, data in NUMBERS.items()]
    names = [{"name": f"same_{kind.lower()}"} for kind in NUMBERS]
    return [
        get("metadata of numbers", "/v2/models/numbers"),
        get("config of numbers", "/v2/models/numbers/config"),
        infer("numbers in JSON", "numbers", *given),
        binary("numbers in binary", "numbers", *given),
        infer("numbers, JSON in, binary out", "numbers", *given, parameters={"binary_data_output": True}),
        binary("numbers, binary in, JSON out", "numbers", *given, outputs=names),
        *[infer(f"numbers, only {name['name']}", "numbers", *given, outputs=[name]) for name in names],
    ]


def _compressed() -> list[Http]:
    a, b = pair()
    body = json.dumps({"inputs": [a, b]}).encode()
    path = "/v2/models/simple/infer"
    return [
        Http("gzip body", "POST", path, gzip.compress(body, mtime=0), {"Content-Encoding": "gzip"}),
        Http("deflate body", "POST", path, zlib.compress(body), {"Content-Encoding": "deflate"}),
        Http("gzip answer asked for", "POST", path, body, {"Accept-Encoding": "gzip"}),
    ]


def _counts() -> list[Http]:
    return [
        infer("statistics, a run that fails", "picky", tensor("x", "INT64", [1], [99])),
        infer("statistics, a run that succeeds", "picky", tensor("x", "INT64", [2], [0, -1])),
        get("statistics of a model that failed once", "/v2/models/picky/stats"),
        get("statistics of a version", "/v2/models/picky/versions/1/stats"),
        get("statistics of a model in batches", "/v2/models/scores/stats"),
    ]


def requests() -> list[Http]:
    """All of them."""
    return [*_server(), *_json(), *_binary(), *_numbers(), *_compressed(), *_counts()]
