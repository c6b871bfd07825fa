"""Channels of the controller to workers: opened, asked over, refused, and slabs that are kept."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from changeover.controller import visits as visits_file
from changeover.controller.visits import Visits
from changeover.errors import Internal, Unavailable
from changeover.sequences.geometry import Geometry
from changeover.sequences.saved import Token
from changeover.sequences.slab import Slab
from changeover.sequences.wire import POSITION, Ask, Status, Told, Verb, pack_told, unpack_asks
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, Header, Message, Part
from changeover.transport.link import Frame, Kind, frame
from changeover.transport.page import sealed_memfd
from tests.descriptors import held

KEY = b"k" * 16
ASK = Ask(Verb.FORGET, Token(), KEY, b"\x01\x35")


class Worker:
    """A supervisor that opens channels at once, and the worker at the other end."""

    def __init__(self, answer: Callable[[list[Ask]], Message | None], slab: int | None = None) -> None:
        self.visits = Visits(self._sent, 4)
        self.heard: list[Ask] = []
        self._answer = answer
        self._slab = slab

    def _sent(self, message: Frame) -> None:
        assert (message.term, message.json()) == (4, {"loading": 7, "lost": None})
        if message.kind is Kind.SLAB:
            fds = [os.dup(self._slab)] if self._slab is not None else []
            asyncio.get_running_loop().call_soon(self.visits.take, frame(Kind.SLAB, {"loading": 7}, fds=fds))
            return
        assert message.kind is Kind.OPEN
        size = channel.channel_size(2, 4096, 4096)
        memory, ours, theirs = channel.create(size)
        threading.Thread(target=self._serve, args=(ChannelMemory(memory, size), theirs)).start()
        slab = [os.dup(self._slab)] if self._slab is not None else []
        told = [size.slots, size.input_bytes, size.output_bytes]
        asyncio.get_running_loop().call_soon(
            self.visits.take, frame(Kind.CHANNEL, {"loading": 7, "size": told}, fds=[memory, ours.detach(), *slab])
        )

    def _serve(self, memory: ChannelMemory, doorbell: socket.socket) -> None:
        with doorbell:
            data = doorbell.recv(channel.MAX_MESSAGE)
            if not data:
                return
            header, body, count = channel.unpack(data)
            (part,) = channel.unpack_parts(body, count)
            assert (header.kind, part.position) == (Message.RECORDS, POSITION)
            self.heard = unpack_asks(bytes(memory.inputs[0][part.offset : part.offset + part.nbytes]))
            kind = self._answer(self.heard)
            if kind is None:
                return
            told = pack_told([Told(Status.OK, 9)] * len(self.heard))
            memory.outputs[0][: len(told)] = told
            parts = [Part(POSITION, Datatype.UINT8, (len(told),), 0, len(told), channel.aligned(len(told)))]
            packed = channel.pack_parts(parts) if kind is Message.ANSWER else b'{"reason": "r", "detail": "d"}'
            doorbell.send(channel.pack(Header(kind, 0, header.batch, 1), packed, len(parts)))


def test_a_worker_is_asked_and_answers() -> None:
    """The records travel as a gateway's do, and the channel is closed with the answer."""
    worker = Worker(lambda _: Message.ANSWER)
    (told,) = asyncio.run(worker.visits.ask(7, [ASK]))
    assert (told.status, told.generation, worker.heard) == (Status.OK, 9, [ASK])


def die(_: list[Ask]) -> Message | None:
    return None


@pytest.mark.parametrize("answer", [die, lambda _: Message.FAILED])
def test_a_worker_that_dies_over_it_or_refuses(answer: Callable[[list[Ask]], Message | None]) -> None:
    """Nobody waits for it, and the error says to ask again."""
    worker = Worker(answer)
    with pytest.raises(Unavailable) as away:
        asyncio.run(worker.visits.ask(7, [ASK]))
    assert away.value.reason == "worker_away"


def test_the_slab_is_kept() -> None:
    """It is the same for every worker of the loading, so one look is enough, until the loading is released."""
    geometry = Geometry(4, 256)
    memory = sealed_memfd("test-slab", geometry.total)
    geometry.lay_out(memory)
    Slab(memory, geometry).count(3)
    worker = Worker(lambda _: Message.ANSWER, memory)

    async def look() -> tuple[Any, Any]:
        first = await worker.visits.slab(7)
        return first, await worker.visits.slab(7)

    assert worker.visits.known(7) is None
    first, second = asyncio.run(look())
    assert first is second is worker.visits.known(7)
    assert first.live == 3
    worker.visits.forget(7)
    assert worker.visits.known(7) is None
    os.close(memory)


def test_memory_that_is_no_slab_any_more_is_let_go() -> None:
    """Its worker may write there what it likes, and it is looked for at every scrape."""
    memory = sealed_memfd("test-no-slab", 1 << 16)
    worker = Worker(lambda _: Message.ANSWER, memory)
    before = held()
    for _ in range(3):
        with pytest.raises(Internal, match="malformed"):
            asyncio.run(worker.visits.slab(7))
    gc.collect()  # the errors hold what was mapped
    assert not held() - before
    os.close(memory)


def test_a_loading_without_a_slab() -> None:
    """It has no sequences; nothing is kept of it."""
    worker = Worker(lambda _: Message.ANSWER)
    assert asyncio.run(worker.visits.slab(7)) is None


def test_a_refused_channel() -> None:
    """The loading is going."""

    def refuse(message: Frame) -> None:
        asyncio.get_running_loop().call_soon(visits.take, frame(Kind.REFUSED, {"loading": 7}))

    visits = Visits(refuse, 1)
    with pytest.raises(Unavailable):
        asyncio.run(visits.ask(7, [ASK]))


def test_a_channel_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked has given up; nothing stays open."""
    monkeypatch.setattr(visits_file, "_PATIENCE", 0.01)
    visits = Visits(lambda _: None, 1)
    with pytest.raises(Unavailable):
        asyncio.run(visits.slab(7))
    ours, theirs = socket.socketpair()
    with theirs:
        visits.take(frame(Kind.CHANNEL, {"loading": 7}, fds=[ours.detach()]))
        assert theirs.recv(1) == b""
