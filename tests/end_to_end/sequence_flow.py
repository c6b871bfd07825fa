"""Clients of sequences, one step after the other, who know what each answer has to be.

The model adds: `y = h + x` and the next `h` is the same, so an answer that is not the sum of all steps so far shows a
step that was lost, doubled or run out of its order.
"""

from __future__ import annotations

import http.client
import json
import threading
from itertools import count
from types import TracebackType
from typing import Any, Self

from changeover.testing import PATIENCE, Server, wait_for
from tests import onnx_models

PLAN = "rollout: {{strategy: instant}}\nsequence: {{state: [{{input: h, output: hn}}], {0}}}\n"
_NAMES = count()


def fresh(server: Server, declared: str = "idle: 60s", versions: int = 1) -> str:
    """A new model that keeps sequences, with so many versions of one weight and other graphs."""
    name = f"sum{next(_NAMES)}"
    server.plan(name, PLAN.format(declared))
    for version in range(versions):
        deployed(server, name, version)
    return name


def deployed(server: Server, name: str, version: int) -> None:
    """The next version of a model serves."""
    rollout = server.deploy(name, onnx_models.adder(version).SerializeToString())
    assert rollout["phase"] in ("watching", "succeeded"), rollout


def ask(connection: http.client.HTTPConnection, model: str, value: float, **parameters: Any) -> tuple[int, Any]:
    """One step in JSON; `request` is its id. Status and body."""
    request, version = parameters.pop("request", ""), parameters.pop("version", "")
    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [value]}
    body = {"id": request, "inputs": [tensor], "parameters": parameters}
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    connection.request("POST", path, json.dumps(body).encode())
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def connected(server: Server) -> http.client.HTTPConnection:
    """A connection, to one of the gateways."""
    return http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE)


def total(told: tuple[int, Any]) -> float | str:
    """The sum that was answered, or the reason of a refusal."""
    status, body = told
    return float(body["outputs"][0]["data"][0]) if status == 200 else str(body["reason"])


class Flow:
    """Many sequences step for step, each client with some of them, until the block ends; then all end.

    Attributes:
        wrong: answers that are not the sum of all steps.
        steps: that were answered rightly.
        versions: that answered, by sequence.
    """

    def __init__(self, server: Server, model: str, sequences: int = 24, clients: int = 4) -> None:
        self.wrong: list[str] = []
        self.steps = 0
        self.versions: dict[int, set[str]] = {n: set() for n in range(1, sequences + 1)}
        self._server = server
        self._model = model
        self._over = threading.Event()
        self._lock = threading.Lock()
        shares = [range(n + 1, sequences + 1, clients) for n in range(clients)]
        self._threads = [threading.Thread(target=self._client, args=(share,)) for share in shares]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more(100)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.more(100)
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def more(self, steps: int) -> None:
        """Wait until so many steps more were answered, or one wrongly."""
        aim = self.steps + steps
        wait_for(lambda: self.steps >= aim or self.wrong, f"{steps} steps")

    def _client(self, sequences: range) -> None:
        connection = connected(self._server)
        sums = dict.fromkeys(sequences, 0.0)
        try:
            for number in count(1):
                last = self._over.is_set()
                for sequence in sequences:
                    sums[sequence] += number
                    told = self._ask(connection, sequence, number, last=last)
                    self._note(sequence, number, told, sums[sequence])
                if last or self.wrong:
                    return
        except Exception as error:  # noqa: BLE001 - the test's own thread shows it
            self.wrong.append(repr(error))
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, sequence: int, number: int, *, last: bool) -> Any:
        start = {"sequence_start": True} if number == 1 else {}
        end = {"sequence_end": True} if last else {}
        return ask(connection, self._model, number, sequence_id=sequence, **start, **end)

    def _note(self, sequence: int, number: int, told: tuple[int, Any], expected: float) -> None:
        with self._lock:
            if total(told) != expected:
                self.wrong.append(f"sequence {sequence} step {number}: {told}, expected {expected}")
                return
            self.steps += 1
            self.versions[sequence].add(told[1]["model_version"])
