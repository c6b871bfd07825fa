"""Calls over gRPC, good and bad; those that change what is served come last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compatibility.forms import NUMBERS, ONES, ROW, Grpc, packed

_KINDS = {"INT32": "int_contents", "INT8": "int_contents", "FP32": "fp32_contents", "BOOL": "bool_contents"}
_TEXTS = "bytes_contents"
_TYPED = {"FP64": "fp64_contents", "UINT64": "uint64_contents", "INT16": "int_contents"}
"""Where typed contents of the model `numbers` are; the others are in `uint_contents`."""


def _call(name: str, method: str, /, **message: Any) -> Grpc:
    return Grpc(name, method, message)


def _told(name: str, datatype: str, shape: list[int], data: Any = None, kind: str = "") -> dict[str, Any]:
    """An input; with `data` in typed contents."""
    made: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    return made if data is None else {**made, "contents": {kind or _KINDS[datatype]: data}}


def _pair(rows: int = 1) -> list[dict[str, Any]]:
    return [_told(f"INPUT{i}", "INT32", [rows, 16]) for i in (0, 1)]


RAW = (packed("INT32", ROW), packed("INT32", ONES))


def _raw(name: str, model: str, inputs: list[Any], raw: tuple[bytes, ...], **more: Any) -> Grpc:
    return Grpc(name, "ModelInfer", {"model_name": model, "inputs": inputs, **more}, raw)


def _typed(name: str, model: str, *inputs: Any, **more: Any) -> Grpc:
    return Grpc(name, "ModelInfer", {"model_name": model, "inputs": list(inputs), **more})


def _x(datatype: str, shape: list[int] | None = None) -> list[dict[str, Any]]:
    return [_told("x", datatype, [1, 4] if shape is None else shape)]


def _classes(count: int) -> list[dict[str, Any]]:
    return [{"name": "y", "parameters": {"classification": {"int64_param": count}}}]


def _server() -> list[Grpc]:
    return [
        _call("gRPC server live", "ServerLive"),
        _call("gRPC server ready", "ServerReady"),
        _call("gRPC server metadata", "ServerMetadata"),
        _call("gRPC model ready", "ModelReady", name="simple"),
        _call("gRPC version ready", "ModelReady", name="simple", version="1"),
        _call("gRPC ready of an unknown model", "ModelReady", name="nobody"),
        _call("gRPC ready of an unknown version", "ModelReady", name="simple", version="9"),
        _call("gRPC ready without a name", "ModelReady"),
        _call("gRPC metadata", "ModelMetadata", name="simple"),
        _call("gRPC metadata of a version", "ModelMetadata", name="simple", version="1"),
        _call("gRPC metadata of mixed", "ModelMetadata", name="mixed"),
        _call("gRPC metadata of an unknown model", "ModelMetadata", name="nobody"),
        _call("gRPC metadata of an unknown version", "ModelMetadata", name="simple", version="9"),
        _call("gRPC config", "ModelConfig", name="simple"),
        _call("gRPC config of an unknown model", "ModelConfig", name="nobody"),
        _call("gRPC statistics", "ModelStatistics", name="picky"),
        _call("gRPC statistics of an unknown model", "ModelStatistics", name="nobody"),
        _call("gRPC repository index", "RepositoryIndex"),
        _call("gRPC trace settings", "TraceSetting"),
        _call("gRPC log settings", "LogSettings"),
        _call("gRPC shared memory status", "SystemSharedMemoryStatus"),
        _call("gRPC shared memory, unregister all", "SystemSharedMemoryUnregister"),
        _call("gRPC CUDA memory status", "CudaSharedMemoryStatus"),
        _call("gRPC a method that nobody has", "Nothing"),
    ]


def _good() -> list[Grpc]:
    x = [1.0, 2.0, 3.0, 4.0]
    infinite = packed("FP32", [float("nan"), float("inf"), 0, -1])
    texts = ["", "a", "schön", "x" * 300]
    bf16 = packed("BF16", [0x3F80, 0x4000, 0, 1])
    first, second = _told("INPUT0", "INT32", [1, 16], ROW), _told("INPUT1", "INT32", [1, 16], ONES)
    mixed = [_told("number", "FP32", [1, 3]), _told("word", "BYTES", [1, 2])]
    both = [{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]
    return [
        _raw("gRPC INT32", "simple", _pair(), RAW),
        _raw("gRPC, of a version", "simple", _pair(), RAW, model_version="1"),
        _raw("gRPC, an id is echoed", "simple", _pair(), RAW, id="mine-3"),
        _raw("gRPC, one output", "simple", _pair(), RAW, outputs=[{"name": "OUTPUT1"}]),
        _raw("gRPC, outputs in another order", "simple", _pair(), RAW, outputs=both),
        _raw("gRPC, inputs in another order", "simple", _pair()[::-1], RAW[::-1]),
        _raw("gRPC, three rows", "simple", _pair(3), (RAW[0] * 3, RAW[1] * 3)),
        _raw("gRPC, priority and timeout", "simple", _pair(), RAW,
             parameters={"priority": {"uint64_param": 0}, "timeout": {"int64_param": 5_000_000}}),
        _raw("gRPC, a parameter of the caller's own", "simple", _pair(), RAW,
             parameters={"mine": {"string_param": "x"}}),
        _typed("gRPC typed INT32", "simple", first, second),
        _typed("gRPC typed FP32", "passing", _told("x", "FP32", [1, 4], x)),
        _typed("gRPC typed BOOL", "flags", _told("x", "BOOL", [1, 4], [True, False, True, True])),
        _typed("gRPC typed INT64", "wide", _told("x", "INT64", [1, 4], [2**62, -1, 0, 1], "int64_contents")),
        _typed("gRPC typed BYTES", "text", _told("x", "BYTES", [1, 4], ["YQ==", "", "w7Y=", "Yg=="], _TEXTS)),
        _typed("gRPC typed INT8", "simple_int8", _told("INPUT0", "INT8", [1, 16], ROW),
               _told("INPUT1", "INT8", [1, 16], ONES)),
        _raw("gRPC BYTES", "text", _x("BYTES"), (packed("BYTES", texts),)),
        _raw("gRPC FP16", "half", _x("FP16"), (packed("FP16", x),)),
        _raw("gRPC BF16", "brain", _x("BF16"), (bf16,)),
        _raw("gRPC NaN and infinities", "passing", _x("FP32"), (infinite,)),
        _raw("gRPC, two datatypes", "mixed", mixed, (packed("FP32", [1, 2, 3]), packed("BYTES", ["a", "b"]))),
        _raw("gRPC, no rows, of a model without batches", "passing", _x("FP32", [0, 4]), (b"",)),
        _raw("gRPC two classes of four", "scores", _x("FP32"), (packed("FP32", [1, 4, 2, 3]),), outputs=_classes(2)),
    ]  # fmt: skip


def _numbers() -> list[Grpc]:
    told = [_told(kind.lower(), kind, [1, 2]) for kind in NUMBERS]
    typed = [
        _told(kind.lower(), kind, [1, 2], data, _TYPED.get(kind, "uint_contents")) for kind, data in NUMBERS.items()
    ]
    return [
        _call("gRPC metadata of numbers", "ModelMetadata", name="numbers"),
        _raw("gRPC numbers", "numbers", told, tuple(packed(kind, data) for kind, data in NUMBERS.items())),
        _typed("gRPC typed numbers", "numbers", *typed),
    ]


def _streamed() -> list[Grpc]:
    """One message of a stream, and its answer."""

    def stream(name: str, model: str, inputs: list[Any], raw: tuple[bytes, ...], **more: Any) -> Grpc:
        return Grpc(name, "ModelStreamInfer", {"model_name": model, "inputs": inputs, **more}, raw)

    return [
        stream("gRPC stream", "simple", _pair(), RAW),
        stream("gRPC stream, an id is echoed", "simple", _pair(), RAW, id="mine-4"),
        stream("gRPC stream, one output", "simple", _pair(), RAW, outputs=[{"name": "OUTPUT1"}]),
        stream("gRPC stream, an unknown model", "nobody", _pair(), RAW),
        stream("gRPC stream, missing input", "simple", _pair()[:1], RAW[:1]),
        stream("gRPC stream, wrong datatype", "simple", [_told("INPUT0", "FP32", [1, 16]), _pair()[1]], RAW),
    ]


def _bad() -> list[Grpc]:
    four = packed("FP32", [1, 2, 3, 4])
    extra = [*_pair(), _told("INPUT2", "INT32", [1, 16])]
    wide = [_told("INPUT0", "INT32", [1, 15]), _pair()[1]]
    region = {"shared_memory_region": {"string_param": "nobody"}, "shared_memory_byte_size": {"int64_param": 16}}
    wrong: Mapping[str, Any] = {**_pair()[0], "name": "nobody"}
    typed = _told("INPUT0", "INT32", [1, 16], ROW)
    return [
        _raw("gRPC, an unknown model", "nobody", _pair(), RAW),
        _raw("gRPC, no model named", "", _pair(), RAW),
        _raw("gRPC, an unknown version", "simple", _pair(), RAW, model_version="9"),
        _raw("gRPC, a version that is no number", "simple", _pair(), RAW, model_version="new"),
        _raw("gRPC, missing input", "simple", _pair()[:1], RAW[:1]),
        _raw("gRPC, no inputs", "simple", [], ()),
        _raw("gRPC, extra input", "simple", extra, (*RAW, RAW[0])),
        _raw("gRPC, wrong name", "simple", [wrong, _pair()[1]], RAW),
        _raw("gRPC, the same input twice", "simple", [_pair()[0]] * 2, (RAW[0],) * 2),
        _raw("gRPC, wrong datatype", "simple", [_told("INPUT0", "FP32", [1, 16]), _pair()[1]], RAW),
        _raw("gRPC, unknown datatype", "simple", [_told("INPUT0", "INT23", [1, 16]), _pair()[1]], RAW),
        _raw("gRPC, wrong width", "simple", wide, (RAW[0][:60], RAW[1])),
        _raw("gRPC, wrong rank", "simple", [_told("INPUT0", "INT32", [16]), _pair()[1]], RAW),
        _raw("gRPC, rows that differ", "simple", [_pair()[0], _pair(2)[1]], (RAW[0], RAW[1] * 2)),
        _raw("gRPC, no rows", "simple", _pair(0), (b"", b"")),
        _raw("gRPC, more rows than a batch takes", "simple", _pair(9), (RAW[0] * 9, RAW[1] * 9)),
        _raw("gRPC, negative dimension", "simple", [_told("INPUT0", "INT32", [-1, 16]), _pair()[1]], RAW),
        _raw("gRPC, too few bytes", "simple", _pair(), (RAW[0][:-4], RAW[1])),
        _raw("gRPC, too many bytes", "simple", _pair(), (RAW[0] + b"abcd", RAW[1])),
        _raw("gRPC, fewer raw contents than inputs", "simple", _pair(), RAW[:1]),
        _raw("gRPC, more raw contents than inputs", "simple", _pair(), (*RAW, RAW[0])),
        _raw("gRPC, raw and typed contents", "simple", [typed, _pair()[1]], RAW),
        _typed("gRPC, no contents", "simple", *_pair()),
        _typed("gRPC, typed contents of another datatype", "passing",
               _told("x", "FP32", [1, 4], [1, 2, 3, 4], "int_contents")),
        _typed("gRPC, too few typed contents", "passing", _told("x", "FP32", [1, 4], [1.0])),
        _typed("gRPC, typed contents for FP16", "half", _told("x", "FP16", [1, 4], [1.0, 2, 3, 4], "fp32_contents")),
        _raw("gRPC, BYTES whose lengths do not fit", "text", _x("BYTES"), (b"\xff\xff\x00\x00abcd",)),
        _raw("gRPC, unknown output", "simple", _pair(), RAW, outputs=[{"name": "nobody"}]),
        _raw("gRPC, no classes", "scores", _x("FP32"), (four,), outputs=_classes(0)),
        _raw("gRPC, the model fails", "picky", [_told("x", "INT64", [1])], (packed("INT64", [99]),)),
        _raw("gRPC, an unknown region of shared memory", "passing", [{**_x("FP32")[0], "parameters": region}], ()),
    ]  # fmt: skip


def _repository() -> list[Grpc]:
    return [
        _call("gRPC load of an unknown model", "RepositoryModelLoad", model_name="nobody"),
        _call("gRPC load of what is loaded", "RepositoryModelLoad", model_name="flags"),
        _call("gRPC unload of an unknown model", "RepositoryModelUnload", model_name="nobody"),
        _call("gRPC unload", "RepositoryModelUnload", model_name="wide"),
        _call("gRPC load again", "RepositoryModelLoad", model_name="wide"),
        _call("gRPC ready after the load", "ModelReady", name="wide"),
    ]


def requests() -> list[Grpc]:
    """All of them."""
    return [*_server(), *_good(), *_numbers(), *_streamed(), *_bad(), *_repository()]
