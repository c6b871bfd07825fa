"""The mirror: copies go to the candidate when nobody is in their way, and both answers are compared."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NoReturn

import numpy as np
import pytest

from changeover.gateway import channels
from changeover.gateway import mirror as module
from changeover.gateway.channels import WorkerChannel
from changeover.gateway.mirror import Mirror
from changeover.telemetry import pairing
from changeover.telemetry.pairing import Excerpt, excerpt
from changeover.tensors import Datatype, Tensor, join_bytes
from changeover.transport import channel
from changeover.transport.channel import Header, Message
from changeover.transport.control import Signature, TensorEntry
from tests.gateway.stage import FakeWorker, Request, Stage, entry, question, stage


def large(size: int = 16 << 20) -> Request:
    """A request with so many bytes of rows, in binary form."""
    tensor = {"name": "x", "shape": [size // 16, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return Request(head + bytes(size), {b"inference-header-content-length": b"%d" % len(head)})


@asynccontextmanager
async def shadowed(**more: object) -> AsyncIterator[tuple[Stage, FakeWorker, FakeWorker]]:
    """All traffic goes to version 1, which doubles, and a copy of it to version 2."""
    async with stage() as here:
        options = {"candidate": 8, "mirror": 10_000, "step": "shadow"} | more
        yield here, *here.serve(1, entry(7, "1"), entry(8, "2"), **options)  # type: ignore[misc]


def mirror(here: Stage) -> Mirror:
    """The mirror in force."""
    found = here.models.by_name["m"].mirror
    assert found is not None
    return found


async def nothing_is_held(here: Stage) -> None:
    """Every lease has ended."""
    targets = here.models.targets.values()
    await here.until(lambda: not any(t.held for t in targets), "the end of all leases")


async def answered_by(here: Stage, worker: FakeWorker, **more: object) -> None:
    """One request, answered by this worker."""
    request = here.ask(question(**more))  # type: ignore[arg-type]
    await worker.serve_one(2.0)
    await here.answered(request)
    assert request.status == 200


@pytest.mark.parametrize(("factor", "flips"), [(2.0, 0), (6.0, 0), (-2.0, 1)])
def test_a_copy_is_made_after_the_answer_and_compared(factor: float, flips: int) -> None:
    """With the request's own bytes, at idle priority; the client has long been answered."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            await answered_by(here, old)
            header, (part,) = await new.take()
            assert header.kind == Message.QUIET
            assert new.rows(header, part).tolist() == [[1, 2, 3, 4]]
            new.give(header, new.rows(header, part) * factor)
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.compared, "the comparison")
            assert (pairs.compared, pairs.flips, pairs.failures, pairs.dropped) == (1, flips, 0, 0)
            await nothing_is_held(here)
            counter = here.models.targets[8].counter
            assert (counter.requests, counter.failed) == (0, 0), "a copy is no request"
            arm = here.models.targets[8].ledger.current
            assert arm is not None
            assert (arm.requests, arm.work) == (0, {}), "nor is it evidence of anything but agreement"

    asyncio.run(scenario())


def test_what_is_held_back_is_copied_to_the_promoted_version() -> None:
    """In the undo window: beside the traffic that the new version has, and compared as in a shadow step."""

    async def scenario() -> None:
        async with stage() as here:
            new, old = here.serve(1, entry(8, "2"), entry(7, "1"), weight=10_000, standby=7, mirror=10_000)
            await answered_by(here, old)
            header, (part,) = await new.take()
            new.give(header, new.rows(header, part) * -2)
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.compared, "the comparison")
            assert (pairs.loading, pairs.compared, pairs.flips) == (8, 1, 1)
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_one_copy_at_a_time_and_the_others_are_dropped() -> None:
    """A slow candidate gets the next one when it has answered, and has rested four times as long."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            for _ in range(5):
                await answered_by(here, old)
            header, (part,) = await new.take()
            pairs = mirror(here).pairs
            assert (pairs.compared, pairs.dropped) == (0, 4)
            before = monotonic()
            new.give(header, new.rows(header, part), wall_ns=25_000_000_000)
            await here.until(lambda: pairs.compared, "the comparison")
            await answered_by(here, old)
            assert pairs.dropped == 5
            assert before + 100.0 <= mirror(here)._next <= monotonic() + 100.0
            mirror(here)._next -= 100.0  # so long it rests
            await answered_by(here, old)
            await new.serve_one(2.0)
            await here.until(lambda: pairs.compared == 2, "the second comparison")

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_a_copy_of_a_large_request_is_followed_by_a_rest(fails: bool) -> None:
    """So that all copies take about a hundredth of the gateway's time, whatever their size; the failed ones too."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            request = here.ask(large())
            old.give((await old.take())[0], np.ones((1, 4)))
            await here.answered(request)
            header, _ = await new.take()
            batch = here.models.targets[8].batcher.channel.batches[header.slot]  # type: ignore[union-attr]
            writing = batch.sent - batch.begun
            assert writing > 1e-3
            before = monotonic()
            if fails:
                new.refuse(header)
            else:
                new.give(header, np.ones((1, 4)))
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.failures if fails else pairs.compared, "its end")
            assert mirror(here)._next >= before + 100 * writing

    asyncio.run(scenario())


def test_the_client_does_not_wait_for_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer has gone out before a byte of the copy is touched, and the request's own bytes are sent on."""
    taken: list[Tensor] = []

    def counted(tensor: Tensor, turn: int) -> Excerpt:
        taken.append(tensor)
        return excerpt(tensor, turn)

    monkeypatch.setattr(module, "excerpt", counted)

    class Client(Request):
        def respond(self, *answer: Any, **more: Any) -> None:
            assert not taken
            super().respond(*answer, **more)

    async def scenario() -> None:
        async with shadowed() as (here, old, _):
            asked = large()
            request = here.ask(Client(memoryview(asked.body), asked.headers))  # type: ignore[arg-type]
            old.give((await old.take())[0], np.ones((1, 4)))
            await here.answered(request)
            assert len(taken) == 1
            out = mirror(here)._out
            assert out is not None
            assert out.ticket.admitted.data[0].obj is asked.body  # type: ignore[union-attr]

    asyncio.run(scenario())


@pytest.mark.parametrize("limit", ["_MOST_BYTES", "_MOST_TEXT"])
def test_what_is_too_large_is_dropped(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """A request by its bytes, an answer by its texts alone: of numbers only a part is read."""
    monkeypatch.setattr(module, limit, 0)

    async def scenario() -> None:
        async with shadowed() as (here, old, _):
            await answered_by(here, old)
            too_large = limit == "_MOST_BYTES"
            assert mirror(here).pairs.dropped == too_large
            assert (mirror(here)._out is None) is too_large

    asyncio.run(scenario())


@asynccontextmanager
async def shadowed_as(datatype: str, *shape: int) -> AsyncIterator[tuple[Stage, FakeWorker, FakeWorker]]:
    """A model with another output."""
    signature = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", datatype, [-1, *shape])], True)
    async with stage() as here:
        entries = [entry(number, str(number), signature=signature) for number in (7, 8)]
        workers = here.serve(1, *entries, candidate=8, mirror=10_000, step="shadow")
        yield here, *workers  # type: ignore[misc]


def test_of_a_large_output_both_show_the_same_part_and_each_pair_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """So an equal candidate is equal in every pair, and what is wrong anywhere is seen in some of them."""
    monkeypatch.setattr(pairing, "MOST_ELEMENTS", 32)
    values = np.random.default_rng(0).uniform(-1, 1, (1, 6, 5, 7)).astype(np.float32)
    parts: list[bytes] = []

    def kept(tensor: Tensor, turn: int) -> Excerpt:
        parts.append(excerpt(tensor, turn).part.tobytes())
        return excerpt(tensor, turn)

    monkeypatch.setattr(module, "excerpt", kept)

    async def scenario() -> None:
        async with shadowed_as("FP32", 6, 5, 7) as (here, old, new):
            for pair in range(1, 8):
                mirror(here)._next = 0.0
                request = here.ask(question())
                for worker in (old, new):
                    worker.give((await worker.take())[0], values)
                    await here.answered(request)
                pairs = mirror(here).pairs
                await here.until(lambda: pairs.compared == pair, "the comparison")  # noqa: B023
            assert {step: n for step, n in enumerate(pairs.errors) if n} == {0: 7}

    asyncio.run(scenario())
    assert parts[::2] == parts[1::2]
    assert len(set(parts)) == 7


def give_texts(worker: FakeWorker, header: Header, count: int) -> None:
    """Answer with one row of so many texts of four bytes."""
    raw = join_bytes([b"text"] * count)
    worker.give(header, np.frombuffer(raw, np.float32), part={"datatype": Datatype.BYTES, "shape": (1, count)})


@pytest.mark.parametrize(
    ("active", "candidate", "counts"),
    [
        (8, 8, (1, 0, 0)),
        (9, 8, (0, 0, 1)),  # not copied
        (8, 9, (1, 1, 0)),  # of another shape: as other as can be
        (8, 400, (1, 1, 0)),
    ],
)
def test_texts_are_read_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, active: int, candidate: int, counts: tuple[int, int, int]
) -> None:
    """Those of the active version; and of the candidate's none that cannot be laid beside them."""
    monkeypatch.setattr(module, "_MOST_TEXT", 64)
    read: list[int] = []
    numpy = Tensor.numpy

    def counted(self: Tensor) -> Any:
        read.append(len(self.data))
        return numpy(self)

    async def scenario() -> None:
        async with shadowed_as("BYTES", -1) as (here, old, new):
            request = here.ask(question())
            give_texts(old, (await old.take())[0], active)
            await here.answered(request)
            assert mirror(here).pairs.dropped == counts[2]
            monkeypatch.setattr(Tensor, "numpy", counted)
            if not counts[2]:
                give_texts(new, (await new.take())[0], candidate)
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.compared or pairs.dropped, "the end of the copy")
            assert (pairs.compared, pairs.flips, pairs.dropped) == counts
            assert all(size <= 64 for size in read)

    asyncio.run(scenario())


def test_longer_texts_of_the_same_shape_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate's alone are over the limit: to see that they are others they would have to be read."""
    monkeypatch.setattr(module, "_MOST_TEXT", 64)

    async def scenario() -> None:
        async with shadowed_as("BYTES", 2) as (here, old, new):
            request = here.ask(question())
            give_texts(old, (await old.take())[0], 2)
            await here.answered(request)
            raw = join_bytes([b"long" * 10, b"text" * 10])
            long = np.frombuffer(raw, np.float32)
            new.give((await new.take())[0], long, part={"datatype": Datatype.BYTES, "shape": (1, 2)})
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.compared or pairs.dropped, "the end of the copy")
            assert (pairs.compared, pairs.dropped) == (0, 1)

    asyncio.run(scenario())


def test_nothing_is_copied_while_anybody_waits() -> None:
    """Neither while the active version has a queue, nor without a slot at the candidate."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            slots = [here.ask(question(headers={b"changeover-version": b"2"}, id=str(n))) for n in range(3)]
            for _ in slots:
                await asyncio.sleep(0.01)
            alone = entry(7, "1", max_batch=1)
            here.models.targets[7].batcher.entry = alone
            crowd = [here.ask(question()) for _ in range(6)]
            for _ in crowd:
                await old.serve_one(2.0)
            await here.answered(*crowd)
            pairs = mirror(here).pairs
            assert pairs.dropped >= 3
            await new.take()

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["refuses", "dies"])
def test_a_candidate_that_fails_its_copy_is_counted(how: str) -> None:
    """The client had its answer; the copy is not tried again."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            await answered_by(here, old)
            header, _ = await new.take()
            if how == "dies":
                new.sock.close()
            else:
                new.refuse(header)
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.failures, "the failure")
            await nothing_is_held(here)
            if how == "dies":
                await answered_by(here, old)
                assert pairs.dropped == 1, "nobody is there to send it to"
            assert (pairs.compared, pairs.failures) == (0, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("short_of", ["memory", "room for the doorbell"])
def test_a_copy_that_finds_no_room_is_dropped(monkeypatch: pytest.MonkeyPatch, short_of: str) -> None:
    """The gateway's machine is short of it, and the candidate has not even seen the copy: the next one comes later."""

    def none(*_: object) -> NoReturn:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    async def scenario() -> None:
        async with shadowed() as (here, old, _new):
            request = here.ask(large(8192))
            header, _ = await old.take()
            if short_of == "memory":
                monkeypatch.setattr(channel, "own_memory", none)
            else:
                monkeypatch.setattr(WorkerChannel, "_ring", none)
            before = monotonic()
            old.give(header, np.ones((1, 4)))
            await here.answered(request)
            pairs = mirror(here).pairs
            await here.until(lambda: pairs.dropped or pairs.failures, "its end")
            assert (pairs.compared, pairs.failures, pairs.dropped) == (0, 0, 1)
            assert mirror(here)._next >= before + 5.0
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_what_names_a_version_is_not_copied() -> None:
    """It is no evidence."""

    async def scenario() -> None:
        async with shadowed() as (here, old, _):
            await answered_by(here, old, headers={b"changeover-version": b"active"})
            assert here.models.targets[8].leases == 0
            assert mirror(here).pairs.dropped == 0

    asyncio.run(scenario())


def test_a_share_is_drawn() -> None:
    """Of a tenth, about a tenth; the others are not even dropped."""

    async def scenario() -> None:
        async with shadowed(mirror=1000) as (here, old, _):
            serving = asyncio.create_task(old.serve(2.0))
            for _ in range(20):
                requests = [here.ask(question()) for _ in range(50)]
                await here.answered(*requests)
            drawn = mirror(here).pairs.dropped + 1
            assert 50 < drawn < 160
            serving.cancel()

    asyncio.run(scenario())


def test_beside_traffic_of_its_own_a_copy_is_run_like_any_other() -> None:
    """Behind a copy at idle priority a client's request would have to wait."""

    async def scenario() -> None:
        async with shadowed(weight=1) as (here, old, new):
            assert not mirror(here).quiet
            await answered_by(here, old)
            header, _ = await new.take()
            assert header.kind == Message.RUN

    asyncio.run(scenario())


@pytest.mark.parametrize("starves", [True, False])
def test_a_copy_that_gets_no_turn_is_no_hang(monkeypatch: pytest.MonkeyPatch, starves: bool) -> None:
    """It may starve at idle priority beside the time of its run; the same silence is a hang where it may not."""
    monkeypatch.setattr(channels, "MAY_STARVE", 60.0 if starves else 0.0)

    async def scenario() -> None:
        async with stage() as here:
            versions = entry(7, "1"), entry(8, "2", run_timeout=0.1)
            old, new = here.serve(1, *versions, candidate=8, mirror=10_000, step="shadow")
            await answered_by(here, old)
            await new.take()
            other = here.models.targets[8].batcher
            if starves:
                for seconds in (0.0, 50.0):
                    other.check(monotonic() + seconds)
                    assert here.denounced == []
                other.check(monotonic() + 70.0)
            await here.until(lambda: here.denounced, "the denunciation")
            assert here.denounced == [new.member]

    asyncio.run(scenario())


def test_a_candidate_that_leaves_waits_for_its_copy() -> None:
    """The copy's lease counts like any other, so the worker is drained when it is done."""

    async def scenario() -> None:
        async with shadowed() as (here, old, new):
            await answered_by(here, old)
            header, (part,) = await new.take()
            here.serve(2, here.models.targets[7].entry)
            assert 8 in here.models.targets
            assert here.models.by_name["m"].mirror is None
            new.give(header, new.rows(header, part))
            await here.until(lambda: 8 not in here.models.targets, "the end of the candidate")

    asyncio.run(scenario())
