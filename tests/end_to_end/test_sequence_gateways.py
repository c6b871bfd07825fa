"""Sequences where gateways die: each is one of many, and the next one knows as much as it did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from changeover.testing import Server, wait_for
from tests.end_to_end.crowd import gateways, in_service
from tests.end_to_end.sequence_flow import PLAN, ask, connected, deployed, fresh, total

MANY = range(1, 25)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways."""
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as server:
        yield server


def test_gateways_share_sequences_and_one_may_die(served: Server) -> None:
    """Each step over a new connection, so at either gateway; then one of them is killed."""
    model = fresh(served)
    expected = 0.0
    for number in range(1, 25):
        expected += number
        connection = connected(served)
        start = {"sequence_start": True} if number == 1 else {}
        assert total(ask(connection, model, number, sequence_id=6, **start)) == expected
        connection.close()
        if number == 12:
            killed_and_replaced(served, 1)


@pytest.mark.parametrize("together", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("way", ["drain", "carry"])
def test_a_gateway_that_starts_during_a_drain_carries_its_sequences_on(
    served: Server, way: str, together: bool
) -> None:
    """All that saw the older table are killed: with drain sequences go on where they are, else they are moved."""
    declared = f"on_changeover: {way}, idle: 300s"
    model = fresh(served, declared)
    served.plan(model, PLAN.format(declared).replace("instant}", "instant, undo_window: 0}"))
    connection = connected(served)
    for sequence in MANY:
        assert total(ask(connection, model, sequence, sequence_id=sequence, sequence_start=True)) == sequence
    connection.close()
    deployed(served, model, 1)
    if way == "drain":
        wait_for(lambda: not served.model(model)["standby"], "a table without the old version")
    for _ in range(1 if together else 2):
        killed_and_replaced(served, 2 if together else 1)
    wait_for(lambda: served.model(model)["sequences"]["live"] == len(MANY), "all of them, none in between")
    for value, end in ((10, False), (100, True)):
        for sequence in MANY:
            connection = connected(served)
            told = ask(connection, model, value, sequence_id=sequence, sequence_end=end)
            expected = sequence + (110 if end else 10), "1" if way == "drain" else "2"
            assert (total(told), told[1].get("model_version")) == expected
            connection.close()
    wait_for(lambda: served.find(f"worker {model}/1") is None, "the old worker's end")


def killed_and_replaced(server: Server, count: int) -> None:
    """SIGKILL for the gateways that have lived longest, and wait until both are in service again."""
    oldest = sorted(gateways(server), key=lambda process: process.create_time())[:count]
    for process in oldest:
        process.kill()
    dead = {process.pid for process in oldest}
    wait_for(lambda: not dead & {process.pid for process in gateways(server)}, "the death of gateways")
    in_service(server, 2)
