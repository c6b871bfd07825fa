"""The zygote: numpy and onnxruntime imported, one thread; workers and provers are forked from it in milliseconds.

A double fork hands the child to the supervisor (the subreaper), so the zygote may die without its children.

A fork is felt by live traffic: it copies page tables, and takes a core for milliseconds that nobody can interrupt. So
some processes are forked beforehand, in a calm moment, and stand by until one is wanted (see record 0013).
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from setproctitle import setproctitle

from changeover.prover import process as prover
from changeover.runtime import quiet
from changeover.transport.child import arguments, die_with, introduce
from changeover.transport.link import Kind, Link, LinkClosed, frame
from changeover.worker import process as worker

_MAINS: Final[dict[str, Callable[[int, int], None]]] = {"worker": worker.main, "prover": prover.main}
"""What a child does with its link and its parent's pid, by its role."""
_SPARES: Final = 2
"""A prover and a worker: what one push takes."""
_CALM: Final = 3.0
"""Seconds without a fork after which spares are made."""
_MESSAGE: Final = 4096


def main() -> None:
    """Fork as the supervisor asks, until it dies."""
    fd, parent = arguments()
    link, _ = introduce(fd, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle("changeover: zygote")
    worker.preload()
    prover.preload()
    if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:
        sys.exit("zygote: a library started a thread at import, forking would break; is ORT_DISABLE_TELEMETRY unset?")
    gc.collect()
    gc.freeze()  # what is shared now stays shared: the collector touches none of it in the children
    link.send(frame(Kind.READY))
    nursery = Nursery(parent)
    while True:
        readable = select.select([link.fileno(), *nursery.watched()], [], [], nursery.pause())[0]
        if not readable:
            nursery.fill(link)
        nursery.hear(readable)
        message = link.receive()
        if message is not None and message.kind is Kind.FORK:
            body = message.json()
            pid = nursery.take(message.fds[0], body) or nursery.fork(link, message.fds[0], body)
            os.close(message.fds[0])
            link.send(frame(Kind.FORKED, {"member": body["member"], "pid": pid}))


@dataclass(slots=True)
class _Spare:
    """A process that stands by; its pid is known once the process between has told it."""

    sock: socket.socket
    theirs: socket.socket
    pid: int = 0


class Nursery:
    """Processes that stand by to become workers or provers. They end with their zygote, and with the supervisor.

    Args:
        supervisor: pid of who adopts them.
    """

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor
        self._spares: list[_Spare] = []
        self._awaited: list[_Spare] = []
        self._told = b""
        self._between: tuple[int, int] | None = None
        self._due = time.monotonic() + _CALM

    def watched(self) -> list[int]:
        """What tells of spares that are being made, and of those that died."""
        pipe = [self._between[1]] if self._between else []
        return [*pipe, *(spare.sock.fileno() for spare in self._spares)]

    def pause(self) -> float | None:
        """Seconds until spares are to be made; None when there are enough, or soon will be."""
        enough = self._between or len(self._spares) >= _SPARES
        return None if enough else max(0.0, self._due - time.monotonic())

    def take(self, fd: int, wanted: Mapping[str, Any]) -> int | None:
        """Bring a spare to life on the link `fd`; returns its pid, None when there is none that lives."""
        self._due = time.monotonic() + _CALM
        while self._spares:
            spare = self._spares.pop(0)  # those that have waited longest first
            with spare.sock:
                try:
                    socket.send_fds(spare.sock, [json.dumps(dict(wanted)).encode()], [fd])
                except OSError:
                    continue  # it is dead
                if not wanted["quiet"]:
                    quiet.bring_back(spare.pid)
                return spare.pid
        return None

    def fill(self, link: Link) -> None:
        """Fork what is missing, all by one process between, which is low already; nobody waits for it."""
        self._due = time.monotonic() + _CALM
        wanted = [_Spare(*socket.socketpair()) for _ in range(_SPARES - len(self._spares))]
        reader, writer = os.pipe()
        try:
            between = os.fork()
        except OSError:  # the machine has no room now
            os.close(reader)
            between = -1
        if between == 0:
            try:
                quiet.begin_low()
                link.sock.close()
                os.close(reader)
                self._fork_spares(wanted, writer)
            finally:
                os._exit(0)
        os.close(writer)
        for spare in wanted:
            spare.theirs.close()
        if between > 0:
            self._between, self._awaited = (between, reader), wanted

    def hear(self, readable: list[int]) -> None:
        """Take in what the process between tells, and let go of spares that died."""
        dead = [spare for spare in self._spares if spare.sock.fileno() in readable]
        for spare in dead:
            spare.sock.close()
        self._spares = [spare for spare in self._spares if spare not in dead]
        if self._between is None or self._between[1] not in readable:
            return
        between, reader = self._between
        told = os.read(reader, _MESSAGE)
        self._told += told
        if told:
            return
        quiet.bring_back(between)  # it has only to end, and is waited for
        os.waitpid(between, 0)
        os.close(reader)
        for place, spare in enumerate(self._awaited):  # adopted by now
            spare.pid = int.from_bytes(self._told[8 * place : 8 * place + 8], "little")
            if spare.pid:
                self._spares.append(spare)
            else:
                spare.sock.close()
        self._between, self._awaited, self._told = None, [], b""

    def fork(self, link: Link, fd: int, wanted: Mapping[str, Any]) -> int:
        """Fork a worker or prover on the link `fd` now; returns its pid. The process between exits at once.

        Raises:
            OSError, SystemExit: the machine has no room for another process; the next zygote finds out anew.
        """
        reader, writer = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                if wanted["quiet"]:
                    quiet.begin_low()
                os.close(reader)
                os.close(writer)
                link.sock.close()
                self._let_go()
                quiet.stand_apart(for_good=wanted["role"] != "worker")
                _live(_MAINS[wanted["role"]], fd, self._supervisor)
            os.write(writer, child.to_bytes(8, "little"))
            os._exit(0)
        os.close(writer)
        os.waitpid(between, 0)
        pid = int.from_bytes(os.read(reader, 8), "little")
        os.close(reader)
        if not pid:
            sys.exit("zygote: a child could not be forked")
        return pid

    def _let_go(self) -> None:
        """A child closes what is the zygote's: its spares must hear when that ends."""
        for spare in (*self._spares, *self._awaited):
            spare.sock.close()
        if self._between is not None:
            os.close(self._between[1])

    def _fork_spares(self, wanted: list[_Spare], writer: int) -> None:
        """The life of the process between."""
        self._let_go()
        for spare in wanted:
            child = os.fork()
            if child == 0:
                os.close(writer)
                for other in wanted:
                    other.sock.close()
                    if other is not spare:
                        other.theirs.close()
                _stand_by(spare.theirs, self._supervisor)
            os.write(writer, child.to_bytes(8, "little"))


def _stand_by(sock: socket.socket, supervisor: int) -> None:
    """A spare's life until it is wanted; never returns."""
    try:
        setproctitle("changeover: spare")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with(supervisor, sock.fileno())
        message, fds, _, _ = socket.recv_fds(sock, _MESSAGE, 1)
        if not fds:  # the zygote is gone
            os._exit(0)
        wanted = json.loads(message)
        sock.close()
        quiet.stand_apart(for_good=wanted["role"] != "worker")
        _live(_MAINS[wanted["role"]], fds[0], supervisor)
    finally:
        os._exit(1)


def _live(life: Callable[[int, int], None], fd: int, supervisor: int) -> None:
    """The child's whole life; never returns, so no destructor of the zygote's runs in a child."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        life(fd, supervisor)
        code = 0
    except (LinkClosed, SystemExit):
        pass
    except BaseException:  # noqa: BLE001 - the last place that can tell what happened
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except LinkClosed:
        sys.exit(0)
