"""The gRPC messages' own codec beside protobuf's upb in a private pool: time of a request and an answer, and of import.

    python benchmarks/grpc_codec.py

Both make the same of a request: model, id, parameters, outputs, and tensors whose size fits their shape. Alternating
rounds, processor time, median; the spread of the rounds is printed beside it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np

from changeover.protocol import oip_grpc
from changeover.protocol.oip import InferRequest, RequestedOutput
from changeover.protocol.oip_grpc import GrpcAsked
from changeover.protocol.oip_members import check_content
from changeover.tensors import Datatype, Tensor, element_count, from_numpy
from rig import emit, median, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.protocol.grpc_messages import message

SHAPES = {"3,136 bytes": (1, 1, 28, 28), "4 MiB": (1, 1, 1024, 1024)}
ROUNDS = 21
Request, Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")
_IMPORTS = {"own": "changeover.protocol.oip_grpc", "upb": "google.protobuf.message_factory"}
_IMPORT = """
import time, numpy, orjson, simdjson, msgspec, changeover.protocol.oip_binary
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096
before, began = rss(), time.process_time()
import {module}
print(time.process_time() - began, rss() - before)
"""


def request_of(shape: tuple[int, ...], request_id: str = "") -> memoryview:
    """What tritonclient sends for one input in raw form."""
    request = Request(model_name="mnist", id=request_id)
    request.inputs.add(name="Input3", datatype="FP32", shape=shape)
    request.outputs.add(name="Plus214_Output_0")
    request.raw_input_contents.append(np.zeros(shape, np.float32).tobytes())
    return memoryview(request.SerializeToString())


def _plain(parameters: object) -> dict[str, object]:
    return {name: getattr(it, it.WhichOneof("parameter_choice")) for name, it in parameters.items()}  # type: ignore[attr-defined]


def upb_decode(body: memoryview) -> GrpcAsked:
    """`oip_grpc.Cut.decode` by protobuf's own classes, with the least of its checks."""
    request = Request.FromString(body)
    inputs = []
    for given, data in zip(request.inputs, request.raw_input_contents, strict=True):
        datatype, shape = Datatype[given.datatype], tuple(given.shape)
        if datatype.itemsize * element_count(shape) != len(data):
            raise ValueError(given.name)
        if datatype is Datatype.BYTES:
            check_content(given.name, datatype, shape, data)
        inputs.append(Tensor(given.name, datatype, shape, data))
    outputs = [RequestedOutput(it.name, binary=True, parameters=_plain(it.parameters)) for it in request.outputs]
    asked = InferRequest(request.id, inputs, outputs, _plain(request.parameters), binary_output=True)
    return GrpcAsked(request.model_name, request.model_version, asked)


def upb_encode(output: Tensor) -> bytes:
    """`oip_grpc.encode_response` by protobuf's own classes."""
    response = Response(model_name="mnist", model_version="3", id="r")
    response.outputs.add(name=output.name, datatype=output.datatype.name, shape=output.shape)
    response.raw_output_contents.append(bytes(output.data))
    return bytes(response.SerializeToString())


def timed(calls: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Microseconds of a call, in each round."""
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(count):
                call()
            rounds[name].append((time.process_time() - began) / count * 1e6)
    return rounds


def codecs(size: str, shape: tuple[int, ...]) -> None:
    """The figures of one size of tensor; ours must not be the slower one."""
    body, output = request_of(shape), from_numpy("Plus214_Output_0", np.zeros(shape, np.float32))
    bodies = cycle([request_of(shape, f"{index:036}") for index in range(8)])
    head = bytes(body[: bytes(body).index(b"\x3a", 40)])
    calls: dict[str, Callable[[], object]] = {
        "decode, own": lambda: oip_grpc.Cut(body).decode(),
        "decode, own, another id each time": lambda: oip_grpc.Cut(next(bodies)).decode(),
        "head, own, not seen before": lambda: oip_grpc.parse_head(head, raw=True),
        "decode, upb": lambda: upb_decode(body),
        "cut and route, own": lambda: oip_grpc.Cut(body).route(),
        "encode, own": lambda: oip_grpc.encode_response("mnist", "3", "r", [output]),
        "encode, upb": lambda: upb_encode(output),
    }
    rounds = timed(calls, 2000 if len(body) < 1 << 16 else 20)
    for name, times in rounds.items():
        say(f"{size:12} {name:36} {median(times):9.1f} µs   ({min(times):.1f} - {max(times):.1f})")
    taken = {name: median(times) for name, times in rounds.items()}
    met = all(taken[f"{what}, own"] <= taken[f"{what}, upb"] for what in ("decode", "encode"))
    emit("grpc_codec", met=met, size=size, microseconds=taken)


def imports() -> None:
    """What each takes to import, beside what a gateway has imported anyway."""
    for name, module in _IMPORTS.items():
        command = [sys.executable, "-c", _IMPORT.format(module=module)]
        seconds, grown = map(float, subprocess.run(command, capture_output=True, check=True).stdout.split())
        say(f"import, {name}: {seconds * 1e3:.1f} ms, {grown / 2**20:.1f} MiB")
        emit("grpc_codec_import", met=True, codec=name, seconds=seconds, bytes=grown)


def main() -> int:
    """Measure both sizes."""
    for size, shape in SHAPES.items():
        codecs(size, shape)
    imports()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
