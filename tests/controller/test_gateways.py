"""Who must answer, and when: gateways that join, come into service, fall silent and die while a question is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from changeover.controller import question
from changeover.errors import Internal
from changeover.transport.control import Leases, Prepared, encode
from changeover.transport.link import Frame, Kind
from tests.controller.house import House, acknowledged
from tests.loop_time import within
from tests.rollout.stage import until


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """A scenario in a loop of its own, which must end."""
    asyncio.run(asyncio.wait_for(scenario, 60))


async def turn() -> None:
    """Let the others go on."""
    for _ in range(3):
        await asyncio.sleep(0)


def prepared(house: House, *members: int, error: str | None = None) -> None:
    """These say that they can pick from epoch 7."""
    for member in members:
        house.says(member, Kind.PREPARED, Prepared(1, [7], error))


def test_a_commit_waits_for_a_gateway_that_is_joining(house: House) -> None:
    """It is asked as the others are, and may take longer than half a second for it: an interpreter must come up."""

    async def scenario() -> None:
        house.gateway(3, ready=False)
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1, 2)
        await asyncio.sleep(question.SILENCE + 0.2)
        assert not task.done()
        assert (house.asked(Kind.PREPARE), house.killed()) == ([1, 2, 3], [])
        prepared(house, 3)
        await task

    run(scenario())


def test_a_gateway_that_appears_while_others_are_asked_is_asked_too(house: House) -> None:
    """It may have read the store just before, so it is waited for, and not taken for silent."""

    async def scenario() -> None:
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1)
        house.fleet.hear(house.up(3))
        assert house.asked(Kind.PREPARE) == [1, 2, 3]
        prepared(house, 2)
        await turn()
        assert not task.done()
        prepared(house, 3)
        await task

    run(scenario())


def test_news_of_a_gateway_that_waits_in_the_link_is_heard_first(house: House) -> None:
    """Its store may be older than this question, though it lives already and nobody else does."""

    async def scenario() -> None:
        house.dies("gateway", member=1)
        house.dies("gateway", member=2)
        house.pending.append(house.up(3))
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        assert not task.done()
        assert house.asked(Kind.PREPARE) == [3]
        prepared(house, 3)
        await task

    run(scenario())


def test_the_half_second_begins_with_a_gateways_service(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has had the question in its link since it was forked, and could not read it."""
    monkeypatch.setattr(question, "SILENCE", 1.0)

    async def scenario() -> None:
        joining = house.gateway(3, ready=False)
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1, 2)
        await asyncio.sleep(1.1)
        in_service = time.monotonic()
        house.fleet.hear(house.ready(3))
        await within(1.5, until(lambda: bool(house.killed())))
        assert time.monotonic() - in_service >= 1.0
        assert (house.killed(), joining.killed is not None) == ([3], True)
        house.dies("gateway", member=3)
        await task

    run(scenario())


def test_one_that_never_comes_into_service_is_killed_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would hold up every changeover."""
    monkeypatch.setattr(question, "JOINING", 0.2)

    async def scenario() -> None:
        house.gateway(3, ready=False)
        house.on_sent = lambda f: house.dies("gateway", member=3) if f.kind is Kind.KILL else None
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1, 2)
        await task
        assert house.killed() == [3]

    run(scenario())


def test_what_a_joining_gateway_cannot_do_yet_is_no_veto(house: House) -> None:
    """It waits for channels; in service it is asked once more, and then its word counts."""

    async def scenario() -> None:
        house.gateway(3, ready=False)
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1, 2)
        prepared(house, 3, error="no channel yet")
        await turn()
        assert not task.done()
        house.fleet.hear(house.ready(3))
        await turn()
        assert not task.done()
        assert house.asked(Kind.PREPARE) == [1, 2, 3, 3]
        prepared(house, 3, error="no channel yet")
        with pytest.raises(Internal, match="no channel yet"):
            await task

    run(scenario())


def test_a_death_ends_the_waiting_for_the_dead_alone(house: House) -> None:
    """While preparing; its successor is asked and waited for."""

    async def scenario() -> None:
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        house.dies("gateway", member=1)
        await turn()
        assert not task.done()
        house.fleet.hear(house.up(3))
        prepared(house, 2, 3)
        await task
        assert house.killed() == []

    run(scenario())


def test_a_death_after_the_store_is_no_silence(house: House) -> None:
    """The others' answers are what comes back."""

    async def scenario() -> None:
        house.fleet.store(1, 7)
        task = asyncio.create_task(house.fleet.acknowledged(1, 7))
        await turn()
        house.says(1, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        house.dies("gateway", member=2)
        house.fleet.hear(house.up(3))
        answers = await task
        assert (len(answers), house.killed()) == (1, [])

    run(scenario())


def test_every_gateway_is_told_of_a_store_once(house: House) -> None:
    """At the store; whoever appears until the others have answered is told then."""

    async def scenario() -> None:
        house.fleet.store(1, 7)
        assert house.asked(Kind.COMMITTED) == [1, 2]
        house.fleet.hear(house.up(3))
        task = asyncio.create_task(house.fleet.acknowledged(1, 7))
        await turn()
        house.fleet.hear(house.up(4))
        assert house.asked(Kind.COMMITTED) == [1, 2, 3, 4]
        for member in (1, 2):
            house.says(member, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert len(await task) == 2

    run(scenario())


def test_one_that_comes_into_service_while_others_acknowledge_must_too(house: House) -> None:
    """It may have accepted, and picked from the old table, before the store."""

    async def scenario() -> None:
        house.gateway(3, ready=False)
        house.fleet.store(1, 7)
        task = asyncio.create_task(house.fleet.acknowledged(1, 7))
        await turn()
        house.says(1, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        house.fleet.hear(house.ready(3))
        house.says(2, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        await turn()
        assert not task.done()
        house.says(3, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert len(await task) == 3

    run(scenario())


def test_a_drain_waits_for_one_that_was_joining_at_the_store(house: House) -> None:
    """Nobody waited for its acknowledgement then, and it may hold leases of the old table."""

    async def scenario() -> None:
        house.publish(6, 5)
        house.publish(7, 4)
        house.gateway(3, ready=False)
        house.fleet.store(1, 7)
        for member in (1, 2):
            house.says(member, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        await house.fleet.acknowledged(1, 7)
        task = asyncio.create_task(house.fleet.drained(5, 10.0))
        await turn()
        assert not task.done()
        house.fleet.hear(house.ready(3))
        house.says(3, Kind.ACKNOWLEDGED, acknowledged(7, {5: 2}))
        await turn()
        assert not task.done()
        house.says(3, Kind.LEASES, Leases(1, 5))
        assert await task

    run(scenario())


def test_a_drain_asks_a_gateway_that_nobody_had_heard_of_at_the_store(house: House) -> None:
    """The supervisor's word of it was still on its way: it too may have picked from the old table."""

    async def scenario() -> None:
        house.publish(6, 5)
        house.publish(7, 4)
        house.fleet.store(1, 7)
        for member in (1, 2):
            house.says(member, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        await house.fleet.acknowledged(1, 7)
        house.pending += [house.up(3), house.ready(3)]
        task = asyncio.create_task(house.fleet.drained(5, 10.0))
        await turn()
        assert (task.done(), house.asked(Kind.COMMITTED)) == (False, [1, 2, 3])
        house.dies("gateway", member=3)
        await turn()
        assert not task.done()
        house.fleet.hear(house.up(4))
        house.says(4, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert await task

    run(scenario())


def test_a_loading_that_no_table_named_is_drained(house: House) -> None:
    """A candidate that was refused: nobody can have picked it, so nobody is asked."""

    async def scenario() -> None:
        assert await house.fleet.drained(5, 0.0)
        assert house.sent == []

    run(scenario())


def test_answers_that_wait_in_the_link_are_heard_before_anyone_is_killed(house: House) -> None:
    """A controller that got no processor for half a second must not kill gateways that have answered in time."""

    async def scenario() -> None:
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await turn()
        prepared(house, 1)
        house.pending.append(Frame(Kind.PREPARED, encode(Prepared(1, [7])), source=2))
        await task
        assert house.killed() == []

    run(scenario())
