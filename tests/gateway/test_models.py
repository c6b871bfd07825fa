"""Tables prepared, joined, committed and acknowledged, over the real page and store."""

from __future__ import annotations

import asyncio

import pytest

from changeover.transport.channel import Header, Part
from changeover.transport.control import Committed, Prepare, Signature, TensorEntry
from changeover.transport.link import Kind, frame
from tests.gateway.stage import WORD, FakeWorker, Request, Stage, entry, question, stage
from tests.gateway.test_models_join import joined
from tests.loop_time import within


def test_prepared_is_said_when_all_channels_are_open() -> None:
    """Not before: a pick must never wait for a channel that does not come."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"), entry(8, "2"))
            here.models.on_prepare(Prepare(WORD, [1]))
            here.connect(7)
            assert here.heard(Kind.PREPARED) == []
            here.connect(8)
            assert here.heard(Kind.PREPARED) == [{"word": WORD, "epochs": [1], "error": None}]

    asyncio.run(scenario())


def test_a_loading_without_a_worker_is_an_error_at_once() -> None:
    """The controller hears which one."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [1]))
            here.models.on_refused(frame(Kind.REFUSED, {"loading": 7}))
            assert "loading 7" in here.heard(Kind.PREPARED)[0]["error"]

    asyncio.run(scenario())


def test_a_channel_that_does_not_come_is_told_before_the_controller_loses_patience() -> None:
    """Within 500 ms, after which this gateway would be killed with all its connections."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [1]))
            await within(0.45, here.until(lambda: here.heard(Kind.PREPARED), "PREPARED"))
            assert "[7]" in here.heard(Kind.PREPARED)[0]["error"]

    asyncio.run(scenario())


def test_a_worker_that_is_being_replaced_does_not_hold_up_a_switch() -> None:
    """Its requests wait in the queue, so a table that names it can be prepared all the same."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            worker.sock.close()
            await here.until(lambda: here.models.targets[7].batcher.channel is None, "the loss")
            here.publish(2, entry(8, "2"), entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [2]))
            here.connect(8)
            assert here.heard(Kind.PREPARED)[-1] == {"word": WORD, "epochs": [2], "error": None}

    asyncio.run(scenario())


def test_a_crash_loop_does_not_hold_up_a_switch_or_a_join() -> None:
    """A table may name a loading whose workers die again and again: the way out of it is such a table."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"), entry(8, "2"))
            here.models.on_prepare(Prepare(WORD, [1]))
            here.connect(7)
            here.models.on_health(frame(Kind.HEALTH, {"loading": 8, "circuit": "open", "wait": 10.0}))
            assert here.heard(Kind.PREPARED) == [{"word": WORD, "epochs": [1], "error": None}]
            here.publish(2, entry(7, "1"), entry(8, "2"))
            here.models.on_prepare(Prepare(WORD, [2]))
            assert [told["error"] for told in here.heard(Kind.PREPARED)] == [None, None]
            assert here.models.unopened({7, 8}) == set()

    asyncio.run(scenario())


def test_a_table_that_is_not_in_the_store_is_an_error() -> None:
    """Nothing is guessed."""

    async def scenario() -> None:
        async with stage() as here:
            here.models.on_prepare(Prepare(WORD, [9]))
            assert "9" in here.heard(Kind.PREPARED)[0]["error"]

    asyncio.run(scenario())


def test_a_table_that_cannot_be_built_is_an_error_and_harms_no_other() -> None:
    """The controller is told, a gateway that joins goes on without it, and the table before serves."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            nonsense = Signature([TensorEntry("x", "X", [-1, 4])], [], True)
            here.publish(2, entry(8, "2", signature=nonsense))
            here.models.on_prepare(Prepare(WORD, [2]))
            assert "[2] make no table" in here.heard(Kind.PREPARED)[-1]["error"]
            models, _, waiting = joined(here)
            assert waiting == {7}
            assert sorted(models.by_name["m"].prepared) == [1]

    asyncio.run(scenario())


async def held_by_the_old_version(here: Stage) -> tuple[FakeWorker, Request, Header, Part]:
    """A request that runs on the old version while the new one takes over."""
    (old,) = here.serve(1, entry(7, "1"))
    request = here.ask(question())
    header, (part,) = await old.take()
    here.serve(2, entry(8, "2"))
    return old, request, header, part


def test_a_commit_is_acknowledged_with_the_leases_that_are_left() -> None:
    """The old version's lease is told, and its end when it comes."""

    async def scenario() -> None:
        async with stage() as here:
            old, request, header, part = await held_by_the_old_version(here)
            acknowledged = here.heard(Kind.ACKNOWLEDGED)[-1]
            assert (acknowledged["epoch"], acknowledged["leases"]) == (2, {"7": 1, "8": 0})
            assert here.heard(Kind.LEASES) == []
            old.give(header, old.rows(header, part))
            await here.answered(request)
            await here.until(lambda: here.heard(Kind.LEASES), "the last lease's end")
            assert here.heard(Kind.LEASES) == [{"word": WORD, "loading": 7}]
            assert old.sock.recv(10) == b"", "the worker sees the end of its channel"

    asyncio.run(scenario())


def test_a_loading_that_a_prepared_table_names_keeps_its_channel() -> None:
    """The way back is prepared: the old version stays connected though nothing goes there now."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            here.publish(3, entry(7, "1"), entry(8, "2"))
            here.models.on_prepare(Prepare(WORD, [3]))
            here.connect(8)
            here.serve(2, entry(8, "2"))
            assert set(here.models.targets) == {7, 8}
            here.commit(3)
            request = here.ask(question())
            assert request.status == 0
            assert here.models.by_name["m"].refresh().active.loading == 7

    asyncio.run(scenario())


def test_a_commit_of_an_unknown_word_is_no_error() -> None:
    """A gateway that has never heard of the model has nothing to acknowledge."""

    async def scenario() -> None:
        async with stage() as here:
            here.models.on_committed(Committed(77, 1))
            assert here.told == []

    asyncio.run(scenario())


def test_a_commit_of_no_table_is_no_error() -> None:
    """The model's first table was prepared and given up."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [1]))
            here.models.on_committed(Committed(WORD, 0))
            assert here.heard(Kind.ACKNOWLEDGED) == []

    asyncio.run(scenario())


def test_a_loading_that_is_named_again_is_kept_beyond_its_last_lease() -> None:
    """Left out by one table while a request runs there, named by the next one before that ends."""

    async def scenario() -> None:
        async with stage() as here:
            old, request, header, part = await held_by_the_old_version(here)
            here.publish(3, entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [3]))
            old.give(header, old.rows(header, part))
            await here.answered(request)
            assert set(here.models.targets) == {7, 8}
            here.commit(3)
            again = here.ask(question())
            await old.serve_one(2.0)
            await here.answered(again)
            assert again.status == 200

    asyncio.run(scenario())


def test_a_channel_for_a_loading_that_is_gone_is_closed() -> None:
    """The worker sees its end, and no descriptor is kept."""

    async def scenario() -> None:
        async with stage() as here:
            worker = here.connect(99)
            assert worker.sock.recv(10) == b""

    asyncio.run(scenario())


def test_a_channel_that_finds_no_descriptor_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker sees the end of the first one, and the second one serves."""

    def full(*_: object) -> None:
        raise OSError(24, "Too many open files")

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, entry(7, "1"))
            here.models.on_prepare(Prepare(WORD, [1]))
            with monkeypatch.context() as patched:
                patched.setattr("changeover.gateway.channels.ChannelMemory", full)
                assert here.connect(7).sock.recv(10) == b""
            await here.until(lambda: len(here.heard(Kind.OPEN)) == 2, "a second request for a channel")
            here.connect(7)
            assert here.heard(Kind.PREPARED) == [{"word": WORD, "epochs": [1], "error": None}]

    asyncio.run(scenario())
