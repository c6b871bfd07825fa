"""Greedy batching over a real channel."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import Any

import numpy as np
import pytest

from changeover.transport.control import Signature, TensorEntry
from changeover.transport.link import Kind, frame
from tests.gateway.stage import Request, entry, question, stage
from tests.loop_time import within


def test_what_arrives_in_one_turn_goes_together() -> None:
    """No delay is added: the first turn's requests are one batch, and each gets its own rows back."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            requests = [here.ask(question([n, n, n, n], rows=n)) for n in (1, 2, 3)]
            assert await worker.serve_one(2.0) == 6
            await here.answered(*requests)
            assert [r.values for r in requests] == [[2.0 * n] * 4 * n for n in (1, 2, 3)]

    asyncio.run(scenario())


def test_while_all_slots_are_taken_rows_gather() -> None:
    """Up to `max_batch` rows leave with the slot that frees up."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=4))
            first = []
            for _ in range(3):
                first.append(here.ask(question()))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            later = [here.ask(question()) for _ in range(6)]
            sizes = [await worker.serve_one(2.0) for _ in range(5)]
            await here.answered(*first, *later)
            assert sizes == [1, 1, 1, 4, 2]

    asyncio.run(scenario())


def test_a_request_larger_than_max_batch_goes_alone() -> None:
    """It is not cut, and does not wait for ever."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=4))
            requests = [here.ask(question(rows=9)), here.ask(question())]
            assert [await worker.serve_one(2.0), await worker.serve_one(2.0)] == [9, 1]
            await here.answered(*requests)

    asyncio.run(scenario())


def test_only_equal_trailing_shapes_share_a_batch() -> None:
    """Other lengths of a free dimension wait for their own batch, in order."""
    signature = Signature([TensorEntry("x", "FP32", [-1, -1])], [TensorEntry("y", "FP32", [-1, -1])], True)

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", signature=signature))
            for columns in (2, 2, 3):
                tensor = {"name": "x", "shape": [1, columns], "datatype": "FP32", "data": [1] * columns}
                request = question()
                request.body = str({"inputs": [tensor]}).replace("'", '"').encode()
                here.ask(request)
            shapes = [(await worker.take())[1][0].shape for _ in range(2)]
            assert shapes == [(2, 2), (1, 3)]

    asyncio.run(scenario())


def test_a_failing_row_fails_alone() -> None:
    """The session raised on a batch of three: each runs again by itself, and only the bad one is refused."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            requests = [here.ask(question([n, 0, 0, 0])) for n in (1, 13, 2)]
            header, _ = await worker.take()
            worker.refuse(header)
            for _ in range(3):
                header, (part,) = await worker.take()
                rows = worker.rows(header, part)
                assert len(rows) == 1
                if rows[0, 0] == 13:
                    worker.refuse(header, "run_failed")
                else:
                    worker.give(header, rows)
            await here.answered(*requests)
            assert [r.status for r in requests] == [200, 500, 200]
            assert requests[1].json()["reason"] == "run_failed"
            assert here.denounced == []

    asyncio.run(scenario())


def test_who_went_away_leaves_the_queue() -> None:
    """A disconnected client's rows are not run, and its place in the queue is free again."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            gone, kept = here.ask(question([1, 0, 0, 0])), here.ask(question([2, 0, 0, 0]))
            assert gone.abandoned is not None
            gone.abandoned()
            header, (part,) = await worker.take()
            assert worker.rows(header, part)[:, 0].tolist() == [2]
            worker.give(header, worker.rows(header, part))
            await here.answered(kept)
            assert gone.status == 0
            assert here.pipeline.in_flight == 0
            assert here.models.targets[7].leases == 0

    asyncio.run(scenario())


def test_who_went_away_while_running_frees_its_lease_with_the_batch() -> None:
    """The lease covers the slot: it ends when the worker has answered, and nobody is answered."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request = here.ask(question())
            header, (part,) = await worker.take()
            assert request.abandoned is not None
            request.abandoned()
            assert here.models.targets[7].leases == 1
            worker.give(header, worker.rows(header, part))
            await here.until(lambda: here.models.targets[7].leases == 0, "the lease's end")
            assert request.status == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("running", [True, False])
def test_a_deadline_is_kept_whether_the_request_runs_or_waits(running: bool) -> None:
    """504 in time; a late answer of the worker finds nobody and does no harm."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            if not running:
                for _ in range(3):
                    here.ask(question())
            started = time.monotonic()
            request = here.ask(question(headers={b"changeover-timeout": b"100ms"}))
            await within(2.0, here.answered(request))
            assert time.monotonic() - started > 0.09
            assert (request.status, request.json()["reason"]) == (504, "deadline_exceeded")
            for _ in range(1 if running else 3):
                await worker.serve_one(2.0)
            again = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(again)
            assert again.status == 200
            assert here.models.targets[7].leases == 0

    asyncio.run(scenario())


def test_a_model_of_fixed_shape_gets_several_runs_a_doorbell() -> None:
    """After the first runs were quick, requests that wait share a doorbell, each with a run of its own."""
    signature = Signature([TensorEntry("x", "FP32", [1, 4])], [TensorEntry("y", "FP32", [1, 4])], False)

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", signature=signature))
            first = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(first)
            requests = [here.ask(question([n, 0, 0, 0])) for n in range(5)]
            header, (part,) = await worker.take()
            assert (header.runs, part.shape, part.nbytes) == (5, (1, 4), 16)
            for run in range(5):
                at = part.offset + run * part.stride
                row = np.frombuffer(worker.memory.inputs[header.slot][at : at + 16], np.float32) * 3
                worker.memory.outputs[header.slot][run * 64 : run * 64 + 16] = row.tobytes()
            from changeover.transport import channel

            reply = channel.Header(channel.Message.ANSWER, header.slot, header.batch, 5)
            out = channel.Part(0, 11, (1, 4), 0, 16, 64)
            worker.ring(channel.pack(reply, channel.pack_parts([out]), 1))
            await here.answered(*requests)
            assert [r.values[0] for r in requests] == [0, 3, 6, 9, 12]

    asyncio.run(scenario())


def test_requests_of_a_loading_that_is_gone_choose_again() -> None:
    """The supervisor refuses a channel for ever: who waited goes to the version that serves now."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            worker.sock.close()
            await here.until(lambda: len(here.heard(Kind.OPEN)) == 2, "the next OPEN")
            waiting = here.ask(question())
            (following,) = here.serve(2, entry(8, "2"))
            here.models.on_refused(frame(Kind.REFUSED, {"loading": 7}))
            await following.serve_one(5.0)
            await here.answered(waiting)
            assert (waiting.json()["model_version"], waiting.values) == ("2", [5, 10, 15, 20])

    asyncio.run(scenario())


def test_nobody_in_the_queue_is_kept_for_a_client_that_has_gone() -> None:
    """Neither the one that closed nor the one whose time is over: both hold a whole body."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            running = [here.ask(question()) for _ in range(3)]
            for _ in running:
                await worker.take()
            for _ in range(50):
                gone = here.ask(question())
                assert gone.abandoned is not None
                gone.abandoned()
            late = here.ask(question(headers={b"changeover-timeout": b"20ms"}))
            await here.answered(late)
            assert late.status == 504
            assert len(here.models.targets[7].batcher._queue) == 0
            assert here.models.targets[7].leases == len(running)

    asyncio.run(scenario())


def test_a_large_batch_that_finds_no_memory_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 at once; its slot and its lease are free, and the next request runs."""

    def full(_: int) -> None:
        raise OSError(24, "Too many open files")

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            with monkeypatch.context() as patched:
                patched.setattr("changeover.transport.channel.own_memory", full)
                large = here.ask(question(rows=400))
                await here.answered(large)
            assert (large.status, large.json()["reason"]) == (503, "no_memory")
            target = here.models.targets[7]
            assert (target.leases, target.batcher.channel.free) == (0, [0, 1, 2])
            request = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(request)
            assert request.status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("rows", [1, 400])
def test_a_doorbell_without_room_is_no_death(rows: int) -> None:
    """The machine has no memory for it: 503 at once, slot and lease are free, and the same worker goes on."""

    class Full:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def send(self, _: bytes) -> None:
            raise OSError(errno.ENOBUFS, "No buffer space available")

        def sendmsg(self, *_: object) -> None:
            raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            target = here.models.targets[7]
            channel = target.batcher.channel
            assert channel is not None
            sock, channel._sock = channel._sock, Full(channel._sock)  # type: ignore[assignment]
            refused = here.ask(question(rows=rows))
            await here.answered(refused)
            channel._sock = sock
            assert (refused.status, refused.json()["reason"]) == (503, "no_memory")
            assert (target.leases, channel.free, channel.batches) == (0, [0, 1, 2], {})
            request = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(request)
            assert request.status == 200

    asyncio.run(scenario())


def test_an_answer_that_cannot_be_sent_costs_one_request_and_keeps_no_lease() -> None:
    """No memory for one client's answer: what was with it in the batch runs again on the next worker."""

    class Unlucky(Request):
        def respond(self, *_: Any, **__: Any) -> None:
            raise MemoryError

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            first = question()
            here.ask(Unlucky(first.body))
            second = here.ask(question())
            await worker.serve_one(2.0)
            await here.until(lambda: here.denounced, "the loss of the channel")
            await here.connect(7).serve_one(2.0)
            await here.answered(second)
            assert (second.status, here.models.targets[7].leases, here.pipeline.in_flight) == (200, 0, 0)

    asyncio.run(scenario())
