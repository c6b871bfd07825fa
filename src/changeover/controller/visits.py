"""The controller's channels to workers: opened as a gateway opens one, for what operators ask about sequences.

A channel is made for one question and closed with it. A loading's state slab is mapped read-only and kept while the
loading lives, since it is the same for every incarnation of its worker.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from changeover.errors import Internal, Unavailable
from changeover.sequences.slab import Slab
from changeover.sequences.wire import POSITION, Ask, Told, pack_asks, unpack_told
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.link import Frame, Kind
from changeover.transport.received import own_memory

_PATIENCE: Final = 5.0
"""Seconds until a worker is there, and again until it has answered."""
_BATCH: Final = 1
_MOST_TOLD: Final = 1 << 20
"""Bytes of one answer beside its fixed part: of what is asked here a sentence at most, no state."""
log = logging.getLogger("changeover.controller")


class Visits:
    """Asks workers, and looks at their slabs.

    Args:
        send: sends a frame to the supervisor.
        term: of this controller.
    """

    def __init__(self, send: Callable[[Frame], None], term: int) -> None:
        self._send = send
        self._term = term
        self._waiting: defaultdict[tuple[Kind, int], deque[asyncio.Future[Frame]]] = defaultdict(deque)
        self._slabs: dict[int, Slab] = {}

    def take(self, message: Frame) -> None:
        """A channel has come, the refusal of one, or a slab."""
        kind = Kind.SLAB if message.kind is Kind.SLAB else Kind.OPEN
        waiting = self._waiting.get((kind, message.json()["loading"]), deque())
        while waiting:
            future = waiting.popleft()
            if not future.done():
                future.set_result(message)
                return
        for descriptor in message.fds:  # whoever asked has given up
            os.close(descriptor)

    async def slab(self, loading: int) -> Slab | None:
        """The state slab of a loading, None when it has none; whether a worker lives or not.

        Raises:
            Unavailable: the supervisor does not answer (`worker_away`).
            Internal: the memory is no slab any more (`slab_malformed`): its worker writes what it likes.
        """
        if loading not in self._slabs:
            message = await self._wanted(Kind.SLAB, loading)
            for descriptor in message.fds:
                try:
                    self._slabs[loading] = Slab(descriptor)
                finally:
                    os.close(descriptor)
        return self._slabs.get(loading)

    async def ask(self, loading: int, asks: Sequence[Ask]) -> list[Told]:
        """Have a worker do something about sequences.

        Raises:
            Unavailable: it is not there, or does not answer (`worker_away`).
        """
        message = await self._wanted(Kind.OPEN, loading)
        if message.kind is not Kind.CHANNEL:
            raise _away(loading)
        memory, doorbell, *slab = message.fds
        for descriptor in slab:
            os.close(descriptor)
        visit = _Visit(memory, socket.socket(fileno=doorbell), ChannelSize(*message.json()["size"]))
        try:
            return await asyncio.to_thread(visit.talk, asks)
        except (OSError, Internal) as error:
            raise _away(loading) from error
        finally:
            visit.close()

    def known(self, loading: int) -> Slab | None:
        """The slab of a loading, if it was looked at before."""
        return self._slabs.get(loading)

    def forget(self, loading: int) -> None:
        """Drop what is kept of a released loading."""
        self._slabs.pop(loading, None)
        for kind in (Kind.OPEN, Kind.SLAB):
            self._waiting.pop((kind, loading), None)

    async def _wanted(self, kind: Kind, loading: int) -> Frame:
        """What the supervisor answers to this about a loading."""
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[kind, loading].append(future)
        self._send(Frame(kind, msgspec.json.encode({"loading": loading, "lost": None}), term=self._term))
        try:
            async with asyncio.timeout(_PATIENCE):
                return await future
        except TimeoutError:
            raise _away(loading) from None


class _Visit:
    """One open channel; its methods block, so they are for a thread."""

    def __init__(self, memory: int, doorbell: socket.socket, size: ChannelSize) -> None:
        self._memory = ChannelMemory(memory, size)
        os.close(memory)
        self._doorbell = doorbell
        doorbell.settimeout(_PATIENCE)

    def close(self) -> None:
        """The worker reads the end, and forgets it."""
        self._doorbell.close()

    def talk(self, asks: Sequence[Ask]) -> list[Told]:
        """Ask, and wait for the answer.

        Raises:
            OSError: the worker is silent or gone.
            Internal: it answers nonsense.
        """
        data = pack_asks(asks)
        memory, rights, own = self._memory.inputs[0], [], None
        if len(data) > len(memory):
            own, memory = channel.own_memory(len(data))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [own]))]
        memory[: len(data)] = data
        part = Part(POSITION, Datatype.UINT8, (len(data),), 0, len(data), channel.aligned(len(data)))
        header = Header(Message.RECORDS, 0, _BATCH, 1)
        try:
            self._doorbell.sendmsg([channel.pack(header, channel.pack_parts([part]), 1)], rights)
        finally:
            if own is not None:
                os.close(own)
        return self._told(len(asks))

    def _told(self, most: int) -> list[Told]:
        data, ancillary, _, _ = self._doorbell.recvmsg(
            channel.MAX_MESSAGE, channel.ANCILLARY, socket.MSG_CMSG_CLOEXEC
        )  # fmt: skip
        own = own_memory(ancillary)
        if not data:
            raise ConnectionResetError
        header, body, count = channel.unpack(data)
        if header.kind != Message.ANSWER:
            raise ConnectionResetError
        memory = self._memory.outputs[0] if own is None else own
        for part in channel.unpack_parts(body, count):
            if part.position == POSITION:
                channel.check_part(part, 1, 1, len(memory))
                return unpack_told(memory[part.offset : part.offset + part.nbytes], most, _MOST_TOLD)
        raise ConnectionResetError


def _away(loading: int) -> Unavailable:
    return Unavailable(
        f"the worker of loading {loading} is not there or does not answer; ask again", reason="worker_away"
    )
