"""Open-loop traffic over gRPC against a real server, by grpcio; every answer is checked."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.testing import PATIENCE, wait_for
from tests.needed import needed
from tests.traffic import MOST_OPEN, Answer, Report

grpc = needed("grpc")

OPTIONS = [
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
]  # fmt: skip
_SERVICE = "/inference.GRPCInferenceService/"
_CALL_SECONDS = 60.0


def channel(port: int) -> Any:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS)


def method(over: Any, name: str) -> Any:
    """A method of the inference service, from values to values by the names of its messages' fields."""
    request, response = f"inference.{name}Request", f"inference.{name}Response"
    return over.unary_unary(
        _SERVICE + name,
        request_serializer=lambda values: encode(request, values),
        response_deserializer=lambda body: decode(response, memoryview(body)),
    )


def question(model: str, values: list[float], **more: Any) -> dict[str, Any]:
    """An inference of one row of four columns."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(values)]}
    raw = np.array(values, np.float32).tobytes()
    return {"model_name": model, "inputs": [tensor], "raw_input_contents": [raw], **more}


def numbers(answer: dict[str, Any]) -> list[float]:
    """The first output of an answer."""
    return [float(value) for value in np.frombuffer(answer["raw_output_contents"][0], np.float32)]


def away(error: Any) -> bool:
    """Whether a call found nobody to connect to, so that nothing was sent."""
    details = str(error.details()).lower()
    return error.code() is grpc.StatusCode.UNAVAILABLE and ("failed to connect" in details or "refused" in details)


class GrpcTraffic:
    """`with GrpcTraffic(port, "m", {"1": 2.0}) as traffic:` sends until the block ends; as `tests.traffic.Traffic`.

    Args:
        port: gRPC port of a server.
        model: a model `y = factor * x` with four columns.
        factors: by version; an answer is right when its values are those of the version that it names.
        rate: calls a second, sent when they are due whatever became of the others.
        channels: connections they take turns on.
    """

    def __init__(
        self, port: int, model: str, factors: dict[str, float], *, rate: float = 150.0, channels: int = 4
    ) -> None:
        self.report = Report()
        self._model = model
        self._factors = factors
        self._rate = rate
        self._channels = [channel(port) for _ in range(channels)]
        self._open = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grpc traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for_answers(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_CALL_SECONDS)
        wait_for(lambda: self._open == 0, "the end of all calls", _CALL_SECONDS)
        for one in self._channels:
            one.close()

    def wait_for_answers(self, more: int, patience: float = PATIENCE) -> None:
        """Wait until so many further calls were answered."""
        target = len(self.report.answers) + more
        wait_for(lambda: len(self.report.answers) >= target, f"{more} more answers", patience)

    def wait_for_version(self, version: str, patience: float = PATIENCE) -> None:
        """Wait until the newest answer is of a version."""
        wait_for(lambda: self.report.answers[-1].version == version, f"an answer of version {version}", patience)

    def _run(self) -> None:
        methods = [method(one, "ModelInfer") for one in self._channels]
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            while self._open >= MOST_OPEN and not self._stop.wait(0.005):
                pass
            self._send(number, methods[number % len(methods)])
            number += 1
            due += 1.0 / self._rate

    def _send(self, number: int, infer: Any) -> None:
        values = [float(number % 1000 + i) for i in range(4)]
        with self._lock:
            self._open += 1
        sent = time.monotonic()
        running = infer.future(question(self._model, values), timeout=_CALL_SECONDS)
        running.add_done_callback(lambda done: self._done(number, values, sent, done))

    def _done(self, number: int, values: list[float], sent: float, done: Any) -> None:
        received = time.monotonic()
        try:
            answer = done.result()
            fields = dict(done.initial_metadata())
            version = answer["model_version"]
            right = numbers(answer) == [v * self._factors.get(version, float("nan")) for v in values]
            self.report.answers.append(Answer(sent, received, version, int(fields["changeover-epoch"]), right))
        except grpc.RpcError as error:
            with self._lock:
                if away(error):
                    self.report.refused += 1
                else:
                    self.report.failed.append(f"call {number}: {error.code()} {error.details()}")
        finally:
            with self._lock:
                self._open -= 1
