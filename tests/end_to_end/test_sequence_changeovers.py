"""Sequences through real changeovers, ramps and rollbacks, and over killed workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.end_to_end.sequence_flow import PLAN, Flow, ask, connected, deployed, fresh, total
from tests.split import Tables


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways."""
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as server:
        yield server


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
