"""Members of the family: spawning, sending, reaping. What a death means is decided by the caller."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic, sleep
from typing import Any

from changeover.supervisor.circuit import Cause
from changeover.transport.child import bind_to
from changeover.transport.link import Frame, Kind, Link, LinkClosed, frame, pair


class Role(StrEnum):
    """What a process is."""

    CONTROLLER = "controller"
    GATEWAY = "gateway"
    ZYGOTE = "zygote"
    WORKER = "worker"
    PROVER = "prover"


_REAP_PATIENCE = 1.0
_UNCLAIMED_FOR = 5.0
"""Seconds that a worker's status is kept for the zygote to name it."""
_MODULES = {
    Role.CONTROLLER: "changeover.controller.process",
    Role.GATEWAY: "changeover.gateway.process",
    Role.ZYGOTE: "changeover.zygote",
}


@dataclass(slots=True, eq=False)
class Member:
    """One incarnation of a process; `number` is never used again while the server lives.

    Attributes:
        index: its place among the members of its role, which its successor takes over.
    """

    number: int
    role: Role
    link: Link
    pid: int | None = None
    loading: int | None = None
    index: int = 0
    ready: bool = False
    muted: bool = False
    reaped: bool = False
    cause: str = ""
    started: float = field(default_factory=monotonic)
    popen: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        """`<gateway 3 pid 4711>`."""
        return f"<{self.role} {self.number} pid {self.pid}>"

    def kill(self, cause: str = "") -> None:
        """SIGKILL; its death arrives by `Family.reap`. One that was reaped has no pid any more: it may be another's.

        `cause` is a word of `circuit.Cause`: the first one stays, and one that has ended already died of none.
        """
        if self.reaped or (self.pid is not None and _has_ended(self.pid)):
            return
        self.cause = self.cause or cause
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)


class Family:
    """All living children. Spawning happens in the main thread: PDEATHSIG follows the spawning thread."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self._next = 1
        self._unclaimed: dict[int, tuple[int, float]] = {}  # status and time, of workers reaped before they were named

    def of(self, role: Role) -> list[Member]:
        """The living members of a role."""
        return [m for m in self.members.values() if m.role is role]

    def one(self, role: Role) -> Member | None:
        """The living member of a role that has one."""
        return next(iter(self.of(role)), None)

    def spawn(self, role: Role, body: dict[str, Any], fds: list[int]) -> Member:
        """A fresh interpreter for a role, bound to this process's life and welcomed with `body` and descriptors."""
        ours, theirs = pair()
        parent = os.getpid()
        child = subprocess.Popen(
            [sys.executable, "-m", _MODULES[role], str(theirs.fileno()), str(parent)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: bind_to(parent),  # noqa: PLW1509 - this process has one thread
        )
        member = self._add(role, Link(ours))
        member.pid, member.popen = child.pid, child
        try:
            self._welcome(member, body, fds)  # before the last copy of its end is closed: it may be dead already
        except (OSError, LinkClosed):
            member.kill()  # its death brings its successor
        theirs.close()
        return member

    def fork(self, zygote: Member, role: Role, loading: int, spec: dict[str, Any], fds: Sequence[int] = ()) -> Member:
        """A worker or prover, forked by the zygote; `named` brings its pid. In a hurry is who has clients waiting.

        Raises:
            OSError, LinkClosed: there is no room for its link now; nothing is left of it.
        """
        ours, theirs = pair()
        member = self._add(role, Link(ours))
        member.loading = loading
        fork = {"member": member.number, "role": role, "quiet": not spec.get("hurry")}
        try:
            self._welcome(member, {"spec": spec}, fds)
            self.send(zygote, frame(Kind.FORK, fork, fds=[theirs.fileno()]))
        except (OSError, LinkClosed):
            self.remove(member)
            raise
        finally:
            theirs.close()
        return member

    def named(self, number: int, pid: int) -> tuple[Member, int] | None:
        """The zygote told a worker's pid; returns the member and its status when it is dead already.

        Raises:
            ValueError: no process of ours has that pid, and a signal to it would meet others.
        """
        if pid <= 1:
            raise ValueError(f"a child with pid {pid}")
        member = self.members.get(number)
        if member is None:
            return None
        member.pid = pid
        self._forget_orphans()
        if pid in self._unclaimed:
            member.reaped = True  # before anybody writes to it, and kills it for not being there
            return member, self._unclaimed.pop(pid)[0]
        return None

    def reap(self) -> Iterator[tuple[Member, int]]:
        """Every child that ended, with its exit code (negative: the signal)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            member = next((m for m in self.members.values() if m.pid == pid), None)
            if member is None:
                self._forget_orphans()
                self._unclaimed[pid] = code, monotonic()
                continue
            member.reaped = True
            if member.popen is not None:
                member.popen.returncode = code
            yield member, code

    def _forget_orphans(self) -> None:
        """Of what nobody named in time: an orphan of somebody else's, whose pid may be a worker's next."""
        oldest = monotonic() - _UNCLAIMED_FOR
        self._unclaimed = {pid: dead for pid, dead in self._unclaimed.items() if dead[1] > oldest}

    def end(self) -> None:
        """SIGKILL for all that are left; none stays behind as a zombie."""
        for member in self.members.values():
            member.kill()
        until = monotonic() + _REAP_PATIENCE
        while self.members and monotonic() < until:
            for member, _ in list(self.reap()):
                self.remove(member)
            sleep(0.001)

    def remove(self, member: Member) -> None:
        """Forget a dead member."""
        self.members.pop(member.number, None)
        member.link.close()

    def send(self, member: Member | None, message: Frame) -> bool:
        """Send; a member that cannot be reached is killed, since its death will say the rest."""
        if member is None:
            return False
        try:
            member.link.send(message)
        except LinkClosed:
            member.kill(Cause.MALFORMED)
            return False
        return True

    def kill_if_alive(self, member: Member, cause: Cause) -> None:
        """SIGKILL for one that was given time to end."""
        if member.number in self.members:
            member.kill(cause)

    def _add(self, role: Role, link: Link) -> Member:
        member = Member(self._next, role, link)
        self._next += 1
        self.members[member.number] = member
        return member

    def _welcome(self, member: Member, body: dict[str, Any], fds: Sequence[int]) -> None:
        member.link.send(frame(Kind.WELCOME, {**body, "member": member.number, "parent": os.getpid()}, fds=fds))


def _has_ended(pid: int) -> bool:
    """Whether a child waits to be reaped."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(4096)
    sock.setblocking(False)
    return sock
