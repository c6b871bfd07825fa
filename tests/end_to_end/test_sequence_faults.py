"""Sequences where something around them goes wrong: a dead controller, and a worker that does not do its part."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.end_to_end.crowd import gateways, held_by
from tests.end_to_end.sequence_flow import PLAN, ask, connected, deployed, fresh, total
from tests.split import Tables

NOBODY_WAITS = "on_changeover: drain, idle: 300s"
"""A drain that ends only with the last sequence, as far as a test is concerned."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways."""
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as server:
        yield server


# -- a dead controller -----------------------------------------------------------------------------------------


def test_a_drain_outlives_its_controller(served: Server) -> None:
    """The next one waits for the sequences of the old version, too, and lets it go when the last has ended.

    It knows since when the version drains, and a newer one that comes meanwhile waits, as it would have.
    """
    model, connection = fresh(served, NOBODY_WAITS), connected(served)
    served.plan(model, PLAN.format(NOBODY_WAITS).replace("instant}", "instant, undo_window: 0}"))
    for sequence in (1, 2, 3):
        assert total(ask(connection, model, sequence, sequence_id=sequence, sequence_start=True)) == sequence
    deployed(served, model, 1)
    wait_for(lambda: not served.model(model)["standby"], "a table without the old version")
    wait_for(lambda: state_of_first(served, model) == "draining", "the begin of the drain")
    term = term_of(served)
    served.named("controller").kill()
    wait_for(lambda: term_of(served) > term, "the next controller")
    rollout = served.push(model, onnx_models.adder(2).SerializeToString())["rollout"]
    wait_for(lambda: served.control("GET", f"/v1/rollouts/{rollout}")["phase"] == "validating", "its turn")
    for sequence in (1, 2, 3):
        told = ask(connection, model, 10, sequence_id=sequence)
        assert (total(told), told[1].get("model_version")) == (sequence + 10, "1")
    assert counted(served, model)["1"] == 3
    assert served.model(model)["sequences"]["by_version"]["1"] == 3
    assert state_of_first(served, model) == "draining"
    for sequence in (1, 2, 3):
        told = ask(connection, model, 100, sequence_id=sequence, sequence_end=True)
        assert total(told) == sequence + 110
    wait_for(lambda: served.find(f"worker {model}/1") is None, "the old worker's end")
    wait_for(lambda: "1" not in counted(served, model), "no series of it")
    assert served.settled(rollout)["phase"] in ("watching", "succeeded")
    connection.close()


def state_of_first(server: Server, model: str) -> str:
    """The state of version 1."""
    return next(str(row["state"]) for row in server.model(model)["versions"] if row["version"] == "1")


def term_of(server: Server) -> int:
    """Of the controller that answers; 0 while none does."""
    try:
        return int(server.control("GET", "/v1/health")["term"])
    except (OSError, http.client.HTTPException, AssertionError):
        return 0


def counted(server: Server, model: str) -> dict[str, int]:
    """Live sequences by version, as a scrape tells them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.control_port)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    mine = [line for line in lines if line.startswith("changeover_sequences{") and f'model="{model}"' in line]
    return {line.split('version="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in mine}


# -- a worker that is deaf to RELEASE --------------------------------------------------------------------------


def test_without_release_steps_are_lost_and_with_it_none(served: Server, serve: Serve, tmp_path: Path) -> None:
    """One of two gateways has seen the sequences last where they began: a mark on what was given away sends it on."""
    assert over_and_back(served, fresh(served, versions=2)) == []
    faults = tmp_path / "faults.json"
    names = [f"sum{n}" for n in range(100)]
    faults.write_text(json.dumps({"models": {name: {"1": {"kind": "deaf"}} for name in names}}))
    deaf = serve(gateways=2, faults=str(faults))
    assert over_and_back(deaf, fresh(deaf, versions=2)) != []


def over_and_back(server: Server, model: str, sequences: int = 24) -> list[str]:
    """Begin at one gateway, move to version 2 by the other, go on at the first with half of the way taken back.

    Returns:
        What was answered wrongly.
    """
    tables, wrong = Tables(server.pid), []
    first, second = one_to_each(server)
    expected = 0.0
    for weight, connection in ((0, first), (10_000, second), (5000, first), (5000, second)):
        tables.split(model, "1", "2", weight)
        expected += 1
        for sequence in range(1, sequences + 1):
            start = {"sequence_start": True} if expected == 1 else {}
            told = ask(connection, model, 1, sequence_id=sequence, **start)
            if total(told) != expected:
                wrong.append(f"sequence {sequence}: {told}, expected {expected}")
    first.close()
    second.close()
    return wrong


def one_to_each(server: Server) -> tuple[http.client.HTTPConnection, http.client.HTTPConnection]:
    """A connection to either gateway; where one goes is for the kernel to say."""
    found: dict[int, http.client.HTTPConnection] = {}

    def both() -> bool:
        connection = connected(server)
        connection.request("GET", "/v2/health/live")
        connection.getresponse().read()
        port = connection.sock.getsockname()[1]
        holder = next(process.pid for process in gateways(server) if port in held_by(process))
        if found.setdefault(holder, connection) is not connection:
            connection.close()
        return len(found) == 2

    wait_for(both, "a connection to either gateway")
    first, second = found.values()
    return first, second
