"""Hostile workers on a real channel: each is denounced, and its requests are answered by the next one."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace

import numpy as np
import pytest

from changeover.transport import channel, page
from changeover.transport.channel import Header, Message, Part
from changeover.transport.link import Kind
from tests.gateway.stage import PATIENCE, FakeWorker, entry, question, stage
from tests.held_up import unless_held_up

Attack = Callable[[FakeWorker, Header, np.ndarray], None]
ROW = np.ones((1, 4), np.float32)


def honest(header: Header, **changes: object) -> bytes:
    """The message of an honest answer of one row, with falsified parts."""
    part = Part(0, 11, (1, 4), 0, 16, 64)._replace(**changes)
    reply = Header(Message.ANSWER, header.slot, header.batch, header.runs)
    return channel.pack(reply, channel.pack_parts([part]), 1)


def with_memory(make: Callable[[], int]) -> Attack:
    """An answer that brings memory of its own."""

    def attack(worker: FakeWorker, header: Header, rows: np.ndarray) -> None:
        fd = make()
        worker.ring(honest(header), [fd])
        os.close(fd)

    return attack


def unsealed() -> int:
    """Memory that could be cut under the reader."""
    fd = os.memfd_create("changeover-test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    return fd


def empty() -> int:
    """Sealed memory of no size."""
    fd = os.memfd_create("changeover-test", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def no_memory() -> int:
    """A descriptor of another kind."""
    return os.open("/dev/null", os.O_RDONLY)


def flood(worker: FakeWorker, header: Header, rows: np.ndarray) -> None:
    """The right answer, and then as many more as the socket takes."""
    worker.give(header, rows)
    try:
        for _ in range(100):
            worker.give(header, rows)
    except BlockingIOError:
        pass


ATTACKS: dict[str, Attack] = {
    "garbage": lambda w, h, r: w.ring(b"\x00garbage" * 20),
    "one byte": lambda w, h, r: w.ring(b"x"),
    "cut off": lambda w, h, r: w.ring(honest(h)[:-3]),
    "longer than told": lambda w, h, r: w.ring(honest(h) + b"more"),
    "another batch": lambda w, h, r: w.give(h, r, batch=h.batch + 1),
    "an old batch": lambda w, h, r: w.give(h, r, batch=h.batch - 1),
    "an idle slot": lambda w, h, r: w.give(h, r, slot=(h.slot + 1) % 3),
    "a slot that is not there": lambda w, h, r: w.ring(honest(h)[:5] + b"\xff" + honest(h)[6:]),
    "other runs": lambda w, h, r: w.give(h, r, runs=2),
    "a request": lambda w, h, r: w.give(h, r, kind=Message.RUN),
    "wrong length": lambda w, h, r: w.give(h, r, part={"nbytes": 12}),
    "past the slot": lambda w, h, r: w.give(h, r, part={"offset": 4090}),
    "offset of 2^64": lambda w, h, r: w.give(h, r, part={"offset": 2**64 - 64}),
    "huge shape": lambda w, h, r: w.give(h, r, part={"shape": (2**40, 2**24), "nbytes": 0}),
    "wrong shape": lambda w, h, r: w.give(h, r, part={"shape": (1, 2, 2)}),
    "wrong columns": lambda w, h, r: w.give(h, np.ones((1, 5))),
    "wrong type": lambda w, h, r: w.give(h, r, part={"datatype": 8}),
    "unknown type": lambda w, h, r: w.give(h, r, part={"datatype": 77}),
    "wrong position": lambda w, h, r: w.give(h, r, part={"position": 1}),
    "no outputs": lambda w, h, r: w.ring(channel.pack(Header(Message.ANSWER, h.slot, h.batch, 1), b"", 0)),
    "two outputs": lambda w, h, r: w.ring(
        channel.pack(
            Header(Message.ANSWER, h.slot, h.batch, 1), channel.pack_parts([Part(0, 11, (1, 4), 0, 16, 64)] * 2), 2
        )
    ),
    "more promised": lambda w, h, r: w.ring(
        channel.pack(
            Header(Message.ANSWER, h.slot, h.batch, 1), channel.pack_parts([Part(0, 11, (1, 4), 0, 16, 64)]), 60_000
        )
    ),
    "a failure of garbage": lambda w, h, r: w.ring(
        channel.pack(Header(Message.FAILED, h.slot, h.batch, 1), b"\xff\xfe", 0)
    ),
    "a failure of nested lists": lambda w, h, r: w.ring(
        channel.pack(Header(Message.FAILED, h.slot, h.batch, 1), b"[" * 30_000, 0)
    ),
    "a failure without a reason": lambda w, h, r: w.ring(
        channel.pack(Header(Message.FAILED, h.slot, h.batch, 1), b'{"detail": 1}', 0)
    ),
    "outputs that overlap": lambda w, h, r: w.ring(
        channel.pack(
            Header(Message.ANSWER, h.slot, h.batch, 1),
            channel.pack_parts([Part(n, 11, (1, 4), 0, 16, 64) for n in range(300)]),
            300,
        )
    ),
    "unsealed memory": with_memory(unsealed),
    "empty memory": with_memory(empty),
    "no memory": with_memory(no_memory),
    "small memory": with_memory(lambda: page.sealed_memfd("changeover-test", 8)),
    "a flood": flood,
}


@pytest.mark.parametrize("what", ATTACKS)
def test_a_worker_that_breaks_the_rules_is_denounced(what: str) -> None:
    """The gateway goes on, asks for the worker's death and for the next one, which answers the same request."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request = here.ask(question())
            header, (part,) = await worker.take()
            ATTACKS[what](worker, header, worker.rows(header, part))
            await here.until(lambda: here.denounced, "the denunciation")
            assert here.denounced == [worker.member]
            assert here.heard(Kind.OPEN)[-1]["lost"] == worker.member
            successor = here.connect(7)
            if what != "a flood":  # its first answer was right, and counts
                await successor.serve_one(3.0)
            await here.answered(request)
            assert request.status == 200
            assert request.values == ([1, 2, 3, 4] if what == "a flood" else [3, 6, 9, 12])
            again = here.ask(question())
            await successor.serve_one(3.0)
            await here.answered(again)
            assert again.status == 200

    asyncio.run(scenario())


def test_silence_beyond_the_run_timeout_is_denounced() -> None:
    """A worker that takes a batch and never answers is given up, not waited for."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=0.1))
            request = here.ask(question())
            await worker.take()
            await here.until(lambda: here.denounced, "the denunciation")
            await here.connect(7).serve_one(3.0)
            await here.answered(request)
            assert (request.status, request.values) == (200, [3, 6, 9, 12])

    asyncio.run(scenario())


@pytest.mark.parametrize(("hungry", "most"), [(0.0, 1.0), (0.5, 2.0), (1.0, 5.0)])
def test_time_without_a_core_is_no_silence(hungry: float, most: float) -> None:
    """It wanted one and had none for this share of the time: a busy machine is no hang, and five times is enough."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=100.0))
            here.ask(question())
            await worker.take()
            opened = here.models.targets[7].batcher.channel
            assert opened is not None
            opened.hunger = SimpleNamespace(look=lambda since, now: hungry * (now - since))  # type: ignore[assignment]
            since = opened.busy_since(monotonic())
            assert since is not None
            assert opened.hangs(since + 100.0 * most - 1.0, 100.0) == 0.0
            assert opened.hangs(since + 100.0 * most + 1.0, 100.0) == pytest.approx(100.0 * most + 1.0)

    asyncio.run(scenario())


@unless_held_up(0.3)
def test_batches_that_wait_behind_a_slow_one_are_not_silence() -> None:
    """The run time-out is one run's: three batches of 0.4 s each are no reason against a limit of 1 s."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=1.0, max_batch=1))
            requests = [here.ask(question()) for _ in range(3)]
            for _ in requests:
                header, (part,) = await worker.take()
                await asyncio.sleep(0.4)  # the run
                worker.give(header, worker.rows(header, part))
            await here.answered(*requests)
            assert here.denounced == []
            assert [r.status for r in requests] == [200] * 3

    asyncio.run(scenario())


def test_a_batch_larger_than_its_slot_travels_in_memory_of_its_own() -> None:
    """In both directions, sealed, and the slots stay as they are."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1000))
            request = here.ask(question(rows=1000))
            loop = asyncio.get_running_loop()
            await here.until(lambda: True, "nothing")
            message = await asyncio.wait_for(_receive(loop, worker), PATIENCE)
            data, ancillary = message
            fd = int.from_bytes(ancillary[0][2][:4], "little")
            assert page.is_sealed(fd)
            rows = np.frombuffer(os.pread(fd, 16_000, 0), np.float32).reshape(1000, 4)
            os.close(fd)
            header, _, _ = channel.unpack(data)
            answer, view = channel.own_memory(16_000)
            view[:16_000] = (rows * 2).tobytes()
            part = Part(0, 11, (1000, 4), 0, 16_000, 16_000)
            worker.ring(
                channel.pack(Header(Message.ANSWER, header.slot, header.batch, 1), channel.pack_parts([part]), 1),
                [answer],
            )
            os.close(answer)
            await here.answered(request)
            assert request.values == [2, 4, 6, 8] * 1000

    asyncio.run(scenario())


async def _receive(loop: asyncio.AbstractEventLoop, worker: FakeWorker) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    ready = loop.create_future()
    loop.add_reader(worker.sock.fileno(), lambda: ready.done() or ready.set_result(None))
    await ready
    loop.remove_reader(worker.sock.fileno())
    data, ancillary, _, _ = worker.sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY)
    return data, ancillary
