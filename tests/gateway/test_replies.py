"""Answers that are cut apart, and answers that are not to be believed, over a real channel."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from changeover.errors import ModelRunFailed
from changeover.gateway import replies
from changeover.gateway.replies import Replies
from changeover.gateway.ticket import Batch, Ticket
from changeover.tensors import Datatype, TensorSpec, join_bytes
from changeover.transport import channel, page
from changeover.transport.channel import Header, Message, Part
from changeover.transport.control import Signature, TensorEntry
from changeover.transport.link import Kind
from tests.gateway.stage import FakeWorker, Stage, entry, question, stage

SIZE = 1 << 40
ROW = np.ones((1, 4), np.float32)


def strings(here: Stage) -> FakeWorker:
    """A worker of a model of texts."""
    tensors = [TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", "BYTES", [-1])]
    (worker,) = here.serve(1, entry(7, "1", signature=Signature(*tensors, True)))
    return worker


@pytest.mark.parametrize(
    "raw", [b"", b"\x05\x00\x00\x00abc", join_bytes(["a", "b"]), struct.pack("<I", 2**32 - 1), join_bytes(["a"]) + b"x"]
)
def test_texts_whose_lengths_do_not_fit_are_denounced(raw: bytes) -> None:
    """Also in an answer to a single request, and in binary form, where nobody else would look at them."""

    async def scenario() -> None:
        async with stage() as here:
            worker = strings(here)
            here.ask(question(parameters={"binary_data_output": True}))
            header, _ = await worker.take()
            worker.memory.outputs[header.slot][: len(raw)] = raw
            part = Part(0, 13, (1,), 0, len(raw), 64)
            worker.ring(
                channel.pack(Header(Message.ANSWER, header.slot, header.batch, 1), channel.pack_parts([part]), 1)
            )
            await here.until(lambda: here.denounced, "the denunciation")
            assert here.denounced == [worker.member]

    asyncio.run(scenario())


def test_texts_of_several_requests_are_cut_apart() -> None:
    """Rows of different length go to those who asked."""

    async def scenario() -> None:
        async with stage() as here:
            worker = strings(here)
            requests = [here.ask(question(rows=rows)) for rows in (1, 2)]
            header, (part,) = await worker.take()
            assert part.shape == (3, 4)
            raw = join_bytes(["one", "", "a much longer text"])
            worker.memory.outputs[header.slot][: len(raw)] = raw
            part = Part(0, 13, (3,), 0, len(raw), 64)
            worker.ring(
                channel.pack(Header(Message.ANSWER, header.slot, header.batch, 1), channel.pack_parts([part]), 1)
            )
            await here.answered(*requests)
            assert [r.json()["outputs"][0]["data"] for r in requests] == [["one"], ["", "a much longer text"]]

    asyncio.run(scenario())


def test_rows_that_a_model_lost_run_again_alone() -> None:
    """A batch answered with fewer rows cannot be cut apart: it is no crime, and each request gets a run of its own."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            requests = [here.ask(question([n, 0, 0, 0])) for n in range(2)]
            header, _ = await worker.take()
            worker.give(header, ROW)
            for _ in range(2):
                assert await worker.serve_one(2.0) == 1
            await here.answered(*requests)
            assert [r.values[0] for r in requests] == [0, 2]
            assert here.denounced == []

    asyncio.run(scenario())


def test_a_failure_told_in_half_a_character_is_answered_all_the_same() -> None:
    """JSON can write half a surrogate pair, which UTF-8 cannot: the request is answered, and holds nothing."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request = here.ask(question())
            header, _ = await worker.take()
            told = Header(Message.FAILED, header.slot, header.batch, 1)
            worker.ring(channel.pack(told, b'{"reason": "run_failed", "detail": "half \\ud800"}', 0))
            await here.answered(request)
            assert (request.status, request.json()["error"]) == (500, "half ?")
            assert (here.models.targets[7].leases, here.models.by_name["m"].held) == (0, 0)

    asyncio.run(scenario())


def test_a_failure_has_a_reason_that_is_known() -> None:
    """Words that a worker makes up would be counts without end, and a report of them more than a link carries."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            reasons = []
            for told in ("out_of_memory", "run_failed", *(str(n) * 20_000 for n in range(8))):
                request = here.ask(question())
                header, _ = await worker.take()
                worker.refuse(header, told)
                await here.answered(request)
                reasons.append(request.json()["reason"])
            assert reasons == ["out_of_memory", *["run_failed"] * 9]
            assert len(here.models.targets[7].counter.errors) == 2

    asyncio.run(scenario())


def test_every_reason_of_a_run_is_known() -> None:
    """All that the worker's own files say of a run that failed."""
    source = Path(replies.__file__).parents[1]
    texts = [file.read_text() for room in ("worker", "runtime") for file in (source / room).rglob("*.py")]
    raised = [call for text in texts for call in re.findall(r"ModelRunFailed\([^#]*?reason=([^\n]*)", text)]
    said = {word for call in raised for word in re.findall(r'"(\w+)"', call)}
    assert said == replies._FAILURES | {"run_failed"}


@pytest.mark.parametrize("rows", [(1,), (1, 1)])
def test_an_answer_larger_than_any_honest_one_is_not_copied(rows: tuple[int, ...]) -> None:
    """Sealed memory of a terabyte costs its maker nothing; each of its requests fails for itself."""

    async def scenario() -> None:
        async with stage() as here:
            declared = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", "UINT8", [-1])], True)
            (worker,) = here.serve(1, entry(7, "1", signature=declared))
            requests = [here.ask(question(parameters={"binary_data_output": True})) for _ in rows]
            for _ in range(len(rows) if len(rows) == 1 else len(rows) + 1):
                header, _ = await worker.take()
                memory = page.sealed_memfd("changeover-test", SIZE)
                told = Header(Message.ANSWER, header.slot, header.batch, 1)
                part = Part(0, 2, (SIZE,), 0, SIZE, SIZE)
                worker.ring(channel.pack(told, channel.pack_parts([part]), 1), [memory])
                os.close(memory)
            await here.answered(*requests)
            assert here.heard(Kind.KILL) == []
            assert {(r.status, r.json()["reason"]) for r in requests} == {(500, "output_too_large")}
            assert here.models.targets[7].leases == 0

    asyncio.run(scenario())


def test_too_many_texts_are_not_walked() -> None:
    """An empty text has four bytes, so a slot may hold millions."""
    replies = Replies([TensorSpec("y", Datatype.BYTES, (-1,))])
    count = (1 << 22) + 1
    memory = memoryview(bytes(4 * count))
    parts = replies.parts(channel.pack_parts([Part(0, 13, (count,), 0, 4 * count, 64)]), 1, 1, len(memory))
    with pytest.raises(ModelRunFailed) as caught:
        replies.cut(Batch([cast("Ticket", None)], 1, 1), parts, memory)
    assert caught.value.reason == "output_too_large"
