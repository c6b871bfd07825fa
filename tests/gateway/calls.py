"""Calls of gRPC as the HTTP/2 door hands them to the application, without a door."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.hpack import Decoder
from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.protocol.oip_grpc_wire import Fields
from tests.gateway.stage import Stage

INFERENCE = "/inference.GRPCInferenceService/"
_MOST = 1 << 16
_ERROR, _ANSWER = 0x0A, 0x12  # tags of `ModelStreamInferResponse`


@dataclass(eq=False)
class FakeCall:
    """A call, and what became of it: `status` is None until it is answered; `told` is an answer that goes on."""

    body: memoryview
    path: str = INFERENCE + "ModelInfer"
    headers: dict[bytes, bytes] = field(default_factory=dict)
    timeout: float | None = None
    certified: bool = False
    received: float = field(default_factory=time.monotonic)
    abandoned: Callable[[], None] | None = None
    status: Status | None = None
    message: str = ""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    answer: bytes = b""
    told: list[bytes] = field(default_factory=list)

    def tell(self, body: Sequence[bytes | memoryview]) -> None:
        """Keep a message of the answer."""
        self.told.append(b"".join(body))

    def respond(self, body: Sequence[bytes | memoryview], fields: bytes = b"") -> None:
        """Keep the answer; the memory it came from is the worker's."""
        self._end(Status.OK, "", fields)
        self.answer = b"".join(body)

    def fail(self, status: Status, message: str, fields: bytes = b"") -> None:
        """Keep the error."""
        self._end(status, message, fields)

    def _end(self, status: Status, message: str, fields: bytes) -> None:
        assert self.status is None, "answered twice"
        self.status, self.message, self.fields = status, message, dict(Decoder(_MOST).decode(fields))

    @property
    def reason(self) -> bytes:
        """The word of an error."""
        return self.fields[b"changeover-reason"]

    def values(self, message: str) -> dict[str, Any]:
        """The answer as this message of the service."""
        return decode(f"inference.{message}", memoryview(self.answer))

    @property
    def streamed(self) -> tuple[str, dict[str, Any]]:
        """The error message and the inference of an answer to one message of a stream; one of them may be empty."""
        told = {tag: bytes(value) for tag, value in Fields().of(memoryview(self.answer))}
        answer = memoryview(told.get(_ANSWER, b""))
        return told.get(_ERROR, b"").decode(), decode("inference.ModelInferResponse", answer)

    @property
    def numbers(self) -> list[float]:
        """The first output of an inference."""
        raw = self.values("ModelInferResponse")["raw_output_contents"][0]
        return [float(number) for number in np.frombuffer(raw, np.float32)]


def call(name: str, message: str = "", /, **values: Any) -> FakeCall:
    """A call of a method of the inference service."""
    return FakeCall(memoryview(encode(f"inference.{message or name}Request", values)), INFERENCE + name)


def inference(model: str = "m", *, rows: int = 1, timeout: float | None = None, **values: Any) -> FakeCall:
    """`ModelInfer` of `rows` rows 1, 2, 3, 4."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    raw = np.array([[1, 2, 3, 4]] * rows, np.float32).tobytes()
    headers = values.pop("headers", {})
    message = {"model_name": model, "inputs": [tensor], "raw_input_contents": [raw], **values}
    made = FakeCall(memoryview(encode("inference.ModelInferRequest", message)), headers=headers)
    made.timeout = timeout
    return made


async def answered(here: Stage, *calls: FakeCall) -> None:
    """Wait until all have an answer."""
    await here.until(lambda: all(c.status is not None for c in calls), "an answer to each call")
