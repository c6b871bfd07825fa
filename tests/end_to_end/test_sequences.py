"""Sequences against a real server: over every protocol, through changeovers, rollbacks and killed workers.

The model adds: `y = h + x` and the next `h` is the same, so an answer that is not the sum of all steps so far shows a
step that was lost, doubled or run out of its order.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import pytest

from changeover.testing import PATIENCE, Server, wait_for
from tests import onnx_models
from tests.split import Tables

PLAN = "rollout: {{strategy: instant}}\nsequence: {{state: [{{input: h, output: hn}}], {0}}}\n"
_NAMES = count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways."""
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as server:
        yield server


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


# -- protocols -------------------------------------------------------------------------------------------------


def over_http(server: Server, model: str, steps: list[dict[str, Any]], *, binary: bool = True) -> list[float]:
    """With Triton's client and its own arguments."""
    from tritonclient import http as triton

    client = triton.InferenceServerClient(f"127.0.0.1:{server.http_port}")
    value = triton.InferInput("x", [1, 1], "FP32")
    found = []
    for number, step in enumerate(steps, 1):
        value.set_data_from_numpy(np.array([[number]], np.float32), binary_data=binary)
        found.append(float(client.infer(model, [value], **step).as_numpy("y")[0, 0]))
    client.close()
    return found


def over_grpc(server: Server, model: str, steps: list[dict[str, Any]]) -> list[float]:
    """The same, over gRPC."""
    from tritonclient import grpc as triton

    client = triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    value = triton.InferInput("x", [1, 1], "FP32")
    found = []
    for number, step in enumerate(steps, 1):
        value.set_data_from_numpy(np.array([[number]], np.float32))
        found.append(float(client.infer(model, [value], **step).as_numpy("y")[0, 0]))
    client.close()
    return found


def over_a_stream(server: Server, model: str, steps: list[dict[str, Any]]) -> list[float]:
    """All steps at once: the server keeps their order."""
    from tritonclient import grpc as triton

    client = triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    heard: list[Any] = []
    client.start_stream(lambda result, error: heard.append(error or result))
    for number, step in enumerate(steps, 1):
        value = triton.InferInput("x", [1, 1], "FP32")
        value.set_data_from_numpy(np.array([[number]], np.float32))
        client.async_stream_infer(model, [value], **step)
    wait_for(lambda: len(heard) == len(steps), "an answer to each step")
    client.stop_stream()
    client.close()
    return [float(answer.as_numpy("y")[0, 0]) for answer in heard]


def over_json(server: Server, model: str, steps: list[dict[str, Any]]) -> list[float]:
    """Triton's client without binary tensors."""
    return over_http(server, model, steps, binary=False)


@pytest.mark.parametrize("speak", [over_http, over_json, over_grpc, over_a_stream])
@pytest.mark.parametrize("identity", [7, "seven"])
def test_tritons_clients_have_their_sequences(served: Server, speak: Any, identity: int | str) -> None:
    """Steps add up in their order; the state is nobody's input or output."""
    model = served_model(served)
    steps: list[dict[str, Any]] = [{"sequence_id": identity} for _ in range(10)]
    steps[0]["sequence_start"] = steps[-1]["sequence_end"] = True
    assert speak(served, model, steps) == [n * (n + 1) / 2 for n in range(1, 11)]
    described = served.get(f"/v2/models/{model}").json()
    assert [t["name"] for t in (*described["inputs"], *described["outputs"])] == ["x", "y"]


_SHARED: dict[int, str] = {}


def served_model(server: Server) -> str:
    """One model for the tests that change nothing."""
    if server.pid not in _SHARED:
        _SHARED[server.pid] = fresh(server)
    return _SHARED[server.pid]


# -- changeovers -----------------------------------------------------------------------------------------------


def test_a_changeover_carries_all_sequences(served: Server) -> None:
    """Every sequence goes on at the new version with its sum, and the old one is left empty."""
    model = fresh(served)
    with Flow(served, model) as flow:
        deployed(served, model, 1)
        flow.more(200)
    assert flow.wrong == []
    assert all(versions == {"1", "2"} for versions in flow.versions.values())


def test_a_ramp_and_a_rollback_carry_them_there_and_back(served: Server) -> None:
    """Half of them move, and all of these come back."""
    model = fresh(served, versions=2)
    Tables(served.pid).split(model, "1", "2", 0)
    with Flow(served, model, sequences=40) as flow:
        Tables(served.pid).split(model, "1", "2", 5000)
        flow.more(200)
        Tables(served.pid).split(model, "1", "2", 0)
        flow.more(100)
        for seen in flow.versions.values():
            seen.discard("2")
        flow.more(100)
    assert flow.wrong == []
    assert all(versions == {"1"} for versions in flow.versions.values())


def test_killed_workers_lose_no_step(served: Server) -> None:
    """At whatever moment: what was committed counts, what was not is run again, once."""
    model = fresh(served)
    with Flow(served, model) as flow:
        for _ in range(4):
            served.named(f"worker {model}/1").send_signal(signal.SIGKILL)
            flow.more(60)
    assert flow.wrong == []


def test_the_active_version_goes_on_where_a_candidate_fails(served: Server) -> None:
    """With the state before the step that failed: nobody sees the failure, and the sum is right."""
    model = fresh(served)
    most = 12
    served.deploy(model, onnx_models.picky_adder(most).SerializeToString())
    Tables(served.pid).split(model, "1", "2", 0)
    with Flow(served, model, sequences=8) as flow:
        Tables(served.pid).split(model, "1", "2", 10_000, shield=True)
        flow.more(200)
    assert flow.wrong == []
    connection = connected(served)
    for number in range(1, most + 5):
        start = {"sequence_start": True} if number == 1 else {}
        told = ask(connection, model, number, sequence_id=1000, **start)
        expected = (number * (number + 1) / 2, "2" if number <= most else "1")
        assert (total(told), told[1]["model_version"]) == expected
    connection.close()


def test_idle_sequences_outlive_their_version(served: Server) -> None:
    """The old version is let go; who comes back later finds his sum at the new one."""
    model = fresh(served, "idle: 60s")
    served.plan(model, PLAN.format("idle: 60s").replace("instant}", "instant, undo_window: 0}"))
    connection = connected(served)
    for sequence in range(1, 31):
        assert total(ask(connection, model, sequence, sequence_id=sequence, sequence_start=True)) == sequence
    deployed(served, model, 1)
    wait_for(lambda: served.find(f"worker {model}/1") is None, "the old worker's end")
    for sequence in range(1, 31):
        told = ask(connection, model, 1, sequence_id=sequence)
        assert (total(told), told[1]["model_version"]) == (sequence + 1, "2")
    connection.close()


def test_with_drain_sequences_end_where_they_began(served: Server) -> None:
    """While new ones begin at the new version."""
    model = fresh(served, "on_changeover: drain")
    connection = connected(served)
    assert total(ask(connection, model, 1, sequence_id=1, sequence_start=True)) == 1
    deployed(served, model, 1)
    old, new = ask(connection, model, 2, sequence_id=1), ask(connection, model, 5, sequence_id=2, sequence_start=True)
    assert (total(old), old[1]["model_version"]) == (3, "1")
    assert (total(new), new[1]["model_version"]) == (5, "2")
    connection.close()


def test_with_reset_sequences_begin_anew_and_are_told(served: Server) -> None:
    """The loss is declared, and the answer says so."""
    model = fresh(served, "on_changeover: reset")
    connection = connected(served)
    assert total(ask(connection, model, 1, sequence_id=1, sequence_start=True)) == 1
    deployed(served, model, 1)
    told = ask(connection, model, 2, sequence_id=1)
    assert (total(told), told[1]["parameters"]) == (2, {"sequence_reset": True})
    assert total(ask(connection, model, 2, sequence_id=1)) == 4
    connection.close()


# -- refusals and retries --------------------------------------------------------------------------------------


def test_a_step_without_its_sequence_is_refused(served: Server) -> None:
    """No id, no start, after the end, and again after it began anew: never a silent zero state."""
    model, connection = served_model(served), connected(served)
    assert total(ask(connection, model, 1)) == "sequence_id_missing"
    assert total(ask(connection, model, 1, sequence_id=99)) == "sequence_unknown"
    assert total(ask(connection, model, 1, sequence_id=99, sequence_start=True)) == 1
    assert total(ask(connection, model, 1, sequence_id=99, sequence_end=True)) == 2
    assert total(ask(connection, model, 1, sequence_id=99)) == "sequence_ended"
    assert total(ask(connection, model, 3, sequence_id=99, sequence_start=True)) == 3
    connection.close()


def test_sequences_that_nobody_uses_expire_and_their_number_is_limited(served: Server) -> None:
    """A full slab is a clear 503, and there is room again when some have expired."""
    model, connection = fresh(served, "max: 2, idle: 1s"), connected(served)
    for sequence in (1, 2):
        assert total(ask(connection, model, 1, sequence_id=sequence, sequence_start=True)) == 1
    full = ask(connection, model, 1, sequence_id=3, sequence_start=True)
    if full[0] == 503:  # on a machine that slept a second the first ones have expired already
        assert total(full) == "sequences_full"

    def begun() -> bool:
        return total(ask(connection, model, 1, sequence_id=3, sequence_start=True)) == 1

    wait_for(begun, "room for a third")
    assert total(ask(connection, model, 1, sequence_id=1)) == "sequence_expired"
    connection.close()


def test_a_retry_with_the_same_request_id_is_one_step(served: Server) -> None:
    """The stored answer goes out, also from the other gateway; another id is another step."""
    model = served_model(served)
    connections = [connected(served) for _ in range(6)]
    assert total(ask(connections[0], model, 1, sequence_id=5, sequence_start=True, request="a")) == 1
    for connection in connections:
        assert total(ask(connection, model, 10, sequence_id=5, request="b")) == 11
    assert total(ask(connections[0], model, 100, sequence_id=5, request="c")) == 111
    for connection in connections:
        connection.close()


def test_gateways_share_sequences_and_one_may_die(served: Server) -> None:
    """Each step over a new connection, so at either gateway; then one of them is killed."""
    model = served_model(served)
    expected = 0.0
    for number in range(1, 25):
        expected += number
        connection = connected(served)
        start = {"sequence_start": True} if number == 1 else {}
        assert total(ask(connection, model, number, sequence_id=6, **start)) == expected
        connection.close()
        if number == 12:
            kill_gateway(served)


def kill_gateway(server: Server) -> None:
    """SIGKILL for one, and wait for its replacement."""
    gateway = server.named("gateway")
    os.kill(gateway.pid, signal.SIGKILL)
    psutil.wait_procs([gateway], timeout=PATIENCE)
