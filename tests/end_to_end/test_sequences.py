"""Sequences against a real server: over every protocol, what is refused, and what a retry gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from changeover.testing import Server, wait_for
from tests.end_to_end.sequence_flow import ask, connected, fresh, total


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways."""
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as server:
        yield server


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
