"""Requests over HTTP with something wrong, and the calls that change what is served, which come last."""

from __future__ import annotations

from typing import Any

from compatibility.forms import LENGTH, NUMBERS, Http, framed, get, infer, packed, pair, post, tensor, x


def _paths() -> list[Http]:
    a, b = pair()
    return [
        get("metadata of an unknown model", "/v2/models/nobody"),
        get("metadata of an unknown version", "/v2/models/simple/versions/9"),
        get("metadata of a version that is no number", "/v2/models/simple/versions/new"),
        get("ready of an unknown model", "/v2/models/nobody/ready"),
        get("ready of an unknown version", "/v2/models/simple/versions/9/ready"),
        get("config of an unknown model", "/v2/models/nobody/config"),
        get("statistics of an unknown model", "/v2/models/nobody/stats"),
        get("statistics of an unknown version", "/v2/models/simple/versions/9/stats"),
        get("trace settings of an unknown model", "/v2/models/nobody/trace/setting"),
        infer("infer with an unknown model", "nobody", a, b),
        infer("infer with an unknown version", "simple/versions/9", a, b),
        infer("infer with a version that is no number", "simple/versions/new", a, b),
        get("root", "/"),
        get("unknown path", "/v2/nothing"),
        get("unknown path of a model", "/v2/models/simple/nothing"),
        get("protocol version 1", "/v1/models/simple"),
        get("health of another name", "/v2/health/well"),
        post("generate, for texts", "/v2/models/simple/generate", {"text_input": "x"}),
        Http("GET of infer", "GET", "/v2/models/simple/infer"),
        Http("PUT of infer", "PUT", "/v2/models/simple/infer", b"{}"),
        Http("DELETE of a model", "DELETE", "/v2/models/simple"),
        Http("POST of metadata", "POST", "/v2/models/simple", b"{}"),
        Http("POST of health", "POST", "/v2/health/live", b"{}"),
        Http("POST of statistics", "POST", "/v2/models/simple/stats", b"{}"),
        Http("GET of the repository index", "GET", "/v2/repository/index"),
        Http("GET of a load", "GET", "/v2/repository/models/simple/load"),
    ]


def _tensors() -> list[Http]:
    a, b = pair()
    return [
        infer("missing input", "simple", a),
        infer("no inputs", "simple"),
        infer("extra input", "simple", a, b, tensor("INPUT2", "INT32", [1, 16], [0] * 16)),
        infer("wrong name", "simple", {**a, "name": "nobody"}, b),
        infer("the same input twice", "simple", a, a),
        infer("wrong datatype", "simple", {**a, "datatype": "FP32"}, b),
        infer("unknown datatype", "simple", {**a, "datatype": "INT23"}, b),
        infer("datatype in small letters", "simple", {**a, "datatype": "int32"}, b),
        infer("wrong width", "simple", tensor("INPUT0", "INT32", [1, 15], [0] * 15), b),
        infer("wrong rank", "simple", {**a, "shape": [16]}, b),
        infer("rows that differ", "simple", a, pair(rows=2)[1]),
        infer("no rows", "simple", *(tensor(f"INPUT{i}", "INT32", [0, 16], []) for i in (0, 1))),
        infer("more rows than a batch takes", "simple", *pair(rows=9)),
        infer("too few elements", "simple", {**a, "data": a["data"][:-1]}, b),
        infer("too many elements", "simple", {**a, "data": [*a["data"], 0]}, b),
        infer("negative dimension", "simple", {**a, "shape": [-1, 16]}, b),
        infer("a dimension that is no whole number", "simple", {**a, "shape": [1, 16.5]}, b),
        infer("a dimension that is a text", "simple", {**a, "shape": ["1", 16]}, b),
        infer("an enormous dimension", "simple", {**a, "shape": [2**62, 16]}, b),
        infer("text for numbers", "simple", {**a, "data": ["1"] * 16}, b),
        infer("true for numbers", "simple", {**a, "data": [True] * 16}, b),
        infer("null among numbers", "simple", {**a, "data": [None, *a["data"][1:]]}, b),
        infer("fractions for INT32", "simple", {**a, "data": [0.5] * 16}, b),
        infer("whole numbers written as fractions for INT32", "simple", {**a, "data": [1.0] * 16}, b),
        infer("a number that INT8 has not", "simple_int8", {**pair("INT8")[0], "data": [300] * 16}, pair("INT8")[1]),
        infer("a number that INT32 has not", "simple", {**a, "data": [2**40] * 16}, b),
        infer("numbers for BYTES", "simple_string", {**pair("BYTES")[0], "data": [1] * 16}, pair("BYTES")[1]),
        infer("a number below nothing for UINT8", "numbers", *_numbers(UINT8=[-1, 0])),
        infer("a number that UINT64 has not", "numbers", *_numbers(UINT64=[2**64, 0])),
        infer("numbers for BOOL", "flags", x("BOOL", [1, 0, 1, 0])),
        infer("FP16 in JSON", "half", x("FP16", [0.5, 1, 2, 3])),
        infer("BF16 in JSON", "brain", x("BF16", [0.5, 1, 2, 3])),
        infer("data is no list", "simple", {**a, "data": 5}, b),
        infer("data is null", "simple", {**a, "data": None}, b),
        infer("unknown output", "simple", a, b, outputs=[{"name": "nobody"}]),
        infer("the same output twice", "simple", a, b, outputs=[{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]),
        infer("an output without a name", "simple", a, b, outputs=[{}]),
        infer("no classes", "scores", x("FP32", [1, 4, 2, 3]), outputs=[_asked(classification=0)]),
        infer("classes of BYTES", "text", x("BYTES", list("abcd")), outputs=[_asked(classification=1)]),
        infer("classification is a text", "scores", x("FP32", [1, 4, 2, 3]), outputs=[_asked(classification="two")]),
        infer("binary_data is no truth value", "passing", x("FP32", [1, 2, 3, 4]), outputs=[_asked(binary_data="yes")]),
        infer("the model fails", "picky", tensor("x", "INT64", [1], [99])),
        infer("an unknown region of shared memory", "passing", _shared()),
    ]


def _numbers(**wrong: list[int]) -> list[dict[str, Any]]:
    return [tensor(kind.lower(), kind, [1, 2], data) for kind, data in {**NUMBERS, **wrong}.items()]


def _asked(**parameters: Any) -> dict[str, Any]:
    return {"name": "y", "parameters": parameters}


def _shared() -> dict[str, Any]:
    parameters = {"shared_memory_region": "nobody", "shared_memory_byte_size": 16}
    return {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": parameters}


def _json() -> list[Http]:
    a, b = pair()
    path = "/v2/models/simple/infer"
    without = {field: {k: v for k, v in a.items() if k != field} for field in ("name", "datatype", "shape", "data")}
    return [
        post("empty body", path),
        post("no JSON", path, b"hello"),
        post("half of a JSON body", path, b'{"inputs": [{"name": "INPUT0", '),
        post("JSON and more after it", path, b'{"inputs": []} more'),
        post("a list instead of an object", path, []),
        post("an empty object", path, {}),
        post("null instead of an object", path, b"null"),
        post("inputs is an object", path, {"inputs": {"INPUT0": [1]}}),
        post("inputs is null", path, {"inputs": None}),
        post("an input is a number", path, {"inputs": [5]}),
        post("text that is not UTF-8", path, b'{"id": "\xff\xfe", "inputs": []}'),
        *[infer(f"an input without {field}", "simple", given, b) for field, given in without.items()],
        infer("id is a number", "simple", a, b, id=7),
        infer("parameters is a list", "simple", a, b, parameters=[1]),
        infer("a parameter is an object", "simple", a, b, parameters={"mine": {"x": 1}}),
        infer("outputs is an object", "simple", a, b, outputs={"name": "OUTPUT0"}),
        infer("shape is a number", "simple", {**a, "shape": 16}, b),
        infer("datatype is a number", "simple", {**a, "datatype": 5}, b),
        infer("name is a number", "simple", {**a, "name": 5}, b),
        post("log settings that are no JSON", "/v2/logging", b"{"),
        post("an unknown log setting", "/v2/logging", {"nobody": 1}),
        post("a log setting of another type", "/v2/logging", {"log_verbose_level": "high"}),
        post("an unknown trace setting", "/v2/trace/setting", {"nobody": 1}),
        post("shared memory, a key that is not there", "/v2/systemsharedmemory/region/mine/register",
             {"key": "/oracle-not-there", "offset": 0, "byte_size": 64}),
        post("shared memory, no key", "/v2/systemsharedmemory/region/mine/register", {"byte_size": 64}),
        get("shared memory, status of an unknown region", "/v2/systemsharedmemory/region/nobody/status"),
    ]  # fmt: skip


def _lengths() -> list[Http]:
    a = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    data = packed("FP32", [1, 2, 3, 4])

    def sized(size: Any, rest: bytes = data, name: str = "", length: int | str | None = None) -> Http:
        return framed(name, "passing", {"inputs": [{**a, "parameters": {"binary_data_size": size}}]}, rest, length)

    texts = {"name": "x", "datatype": "BYTES", "shape": [1, 4], "parameters": {"binary_data_size": 8}}
    return [
        sized(16, name="header length beyond the body", length=9999),
        sized(16, name="header length too short", length=20),
        sized(16, name="header length is no number", length="many"),
        sized(16, name="header length is negative", length=-1),
        sized(15, name="binary size too small for the shape"),
        sized(20, data + b"abcd", name="binary size too large for the shape"),
        sized(16, data[:8], name="fewer bytes than the binary size"),
        sized(16, data + b"more", name="more bytes than the binary sizes"),
        sized("16", name="binary size is a text"),
        sized(-16, name="binary size is negative"),
        framed("neither data nor binary size", "passing", {"inputs": [a]}, data),
        framed("BYTES whose lengths do not fit", "text", {"inputs": [texts]}, b"\xff\xff\x00\x00abcd"),
        Http("raw body of the wrong size", "POST", "/v2/models/passing/infer", data[:-1], {LENGTH: "0"}),
        Http("raw body for two inputs", "POST", "/v2/models/simple/infer", data, {LENGTH: "0"}),
        Http("binary tensors without a header length", "POST", "/v2/models/passing/infer",
             sized(16, name="").body),
    ]  # fmt: skip


def _repository() -> list[Http]:
    load, unload = "/v2/repository/models/{}/load", "/v2/repository/models/{}/unload"
    flags = x("BOOL", [True, False, True, True])
    return [
        post("load an unknown model", load.format("nobody")),
        post("load with a configuration that is no JSON", load.format("flags"), {"parameters": {"config": "{"}}),
        post("load with an unknown parameter", load.format("flags"), {"parameters": {"nobody": "knows"}}),
        post("load what is loaded", load.format("flags")),
        post("unload an unknown model", unload.format("nobody")),
        post("unload", unload.format("flags")),
        Http("ready of an unloaded model", "GET", "/v2/models/flags/ready", until=400),
        Http("server ready with an unloaded model", "GET", "/v2/health/ready", until=200),
        get("metadata of an unloaded model", "/v2/models/flags"),
        infer("infer with an unloaded model", "flags", flags),
        post("repository index with an unloaded model", "/v2/repository/index"),
        post("repository index with an unloaded model, ready only", "/v2/repository/index", {"ready": True}),
        post("unload what is unloaded", unload.format("flags")),
        post("load again", load.format("flags")),
        infer("infer after the load", "flags", flags),
    ]


def requests() -> list[Http]:
    """All of them."""
    return [*_paths(), *_tensors(), *_json(), *_lengths(), *_repository()]
