"""The supervisor's process: open sockets, start the others, forward their messages, replace what dies.

It keeps the listening sockets, the route page and the table store, and nothing else. When it dies, everything
dies at once (PDEATHSIG); when one of the others dies, it comes back and the rest goes on.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import json
import logging
import os
import resource
import selectors
import signal
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

from changeover.errors import ChangeoverError, Conflict
from changeover.settings import Settings
from changeover.supervisor.family import Family, Member, Role, listen
from changeover.supervisor.workers import STABLE_AFTER, Workers, backoff
from changeover.transport import page
from changeover.transport.link import CONTROLLER, Frame, Kind, LinkClosed, frame

_PR_SET_CHILD_SUBREAPER = 36
_ENOUGH_DESCRIPTORS = 65_536
EXIT_CONFIGURATION = 78
"""A child's exit code that says: starting me again will not help (its reason is on stderr)."""
_SPEAKS: dict[Role, tuple[Kind, ...]] = {
    Role.CONTROLLER: (Kind.SPAWN, Kind.RETIRE, Kind.KILL, Kind.SHUTDOWN, Kind.PREPARE, Kind.COMMITTED),
    Role.GATEWAY: (Kind.READY, Kind.OPEN, Kind.KILL, Kind.PREPARED, Kind.ACKNOWLEDGED, Kind.LEASES, Kind.OBSERVED),
    Role.ZYGOTE: (Kind.READY, Kind.FORKED),
    Role.WORKER: (Kind.STATUS,),
}
"""What each role may say; a worker runs other people's files, so it must not speak as a controller."""
_NONSENSE = (ChangeoverError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What a malformed message comes to, wherever it is noticed."""
log = logging.getLogger("changeover.supervisor")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code (0: all requests in flight were answered).

    Raises:
        Conflict: another server uses the state folder, or a port is taken.
    """
    return Supervisor(settings).run()


class Supervisor:
    """The parent of all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.family = Family()
        self.workers = Workers(self.family, self._later)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._deaths: dict[Role, int] = {}
        self._stopping = False
        self._exit: int | None = None
        self._handlers: dict[Kind, Callable[[Member, Frame], None]] = {
            Kind.READY: self._on_ready,
            Kind.FORKED: self._on_forked,
            Kind.SPAWN: lambda _, f: self.workers.spawn(f.json()),
            Kind.RETIRE: lambda _, f: self.workers.retire(f.json()["loading"], f.json()["grace"]),
            Kind.OPEN: lambda m, f: self.workers.open(m, f.json()["loading"], f.json()["lost"]),
            Kind.STATUS: self.workers.status,
            Kind.KILL: self._on_kill,
            Kind.SHUTDOWN: lambda *_: self._stop(),
        }

    def run(self) -> int:
        """The whole life of the server."""
        self._open()
        self._start(Role.ZYGOTE)
        for _ in range(self.settings.gateways):
            self._start(Role.GATEWAY)
        self._start(Role.CONTROLLER)
        while self._exit is None:
            self._turn()
        self.family.end()
        return self._exit

    # -- start ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Everything that can be refused is refused here, before any process starts."""
        os.environ.update({"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"})
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.settings.state.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.settings)
        self._http = _listen(self.settings.host, self.settings.http_port, "--http-port")
        self._control = _listen(self.settings.host, self.settings.control_port, "--control-port")
        self._page, self._store = page.create_page(), page.create_store()
        self._page_ro, self._store_ro = page.read_only(self._page), page.read_only(self._store)
        _raise_descriptors()
        self._signals()
        self._announce()

    def _announce(self) -> None:
        """Write `server.json` into the state folder: where this server listens."""
        http, control = self._http.getsockname()[1], self._control.getsockname()[1]
        body = {"pid": os.getpid(), "host": self.settings.host, "http_port": http, "control_port": control}
        body["scheme"] = self.settings.scheme
        path = self.settings.state / "server.json"
        path.with_suffix(".tmp").write_text(json.dumps(body))
        path.with_suffix(".tmp").rename(path)
        url = f"{self.settings.scheme}://{self.settings.host}"
        log.info("serving on %s:%d, control on %s:%d", url, http, url, control)

    def _signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._wakeup = (reader, writer)
        self._selector.register(reader, selectors.EVENT_READ, None)

    def _start(self, role: Role) -> None:
        if self._stopping:
            return
        settings = self.settings.to_dict()
        if role is Role.ZYGOTE:
            member = self.family.spawn(role, {}, [])
        elif role is Role.GATEWAY:
            member = self.family.spawn(
                role, {"settings": settings}, [self._http.fileno(), self._page_ro, self._store_ro]
            )
            self._tell_controller(Kind.UP, {"role": role, "member": member.number, "pid": member.pid})
        else:
            known = _memory(self._loadings())
            body = {"settings": settings, "gateways": self._gateways()}
            member = self.family.spawn(role, body, [self._control.fileno(), self._page, self._store, known])
            os.close(known)
        self._watch(member)
        log.info("started %r", member)

    def _gateways(self) -> list[dict[str, Any]]:
        return [{"member": m.number, "pid": m.pid, "ready": m.ready} for m in self.family.of(Role.GATEWAY)]

    def _loadings(self) -> list[dict[str, Any]]:
        return [loading.snapshot() for loading in self.workers.loadings.values()]

    def _watch(self, member: Member) -> None:
        self._selector.register(member.link, selectors.EVENT_READ, member)

    # -- the loop ------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for one thing to happen and handle it."""
        for member in self.family.members.values():  # new workers were forked meanwhile, backlogs come and go
            if member.muted:
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.link.wants_write else 0)
            key = self._selector.get_map().get(member.link.fileno())
            if key is None:
                self._watch(member)
            elif key.events != events:
                self._selector.modify(member.link, events, member)
        timeout = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
        for key, events in self._selector.select(timeout):
            if key.data is None:
                self._on_signal()
            elif key.data.number in self.family.members:
                self._serve(key.data, events)
        while self._timers and self._timers[0][0] <= monotonic():
            heapq.heappop(self._timers)[2]()

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (monotonic() + delay, next(self._count), call))

    def _serve(self, member: Member, events: int) -> None:
        """Read what a member says; one that cannot be understood is killed."""
        try:
            if events & selectors.EVENT_WRITE:
                member.link.flush()
            if events & selectors.EVENT_READ:
                for _ in range(64):  # others are waiting too
                    message = member.link.receive()
                    if message is None:
                        return
                    self._handle(member, message)
        except LinkClosed:
            self._mute(member)
            self._later(0.5, lambda: self._kill_if_alive(member))
        except _NONSENSE as error:
            log.error("%r sent nonsense and is killed: %s", member, error)  # noqa: TRY400 - no trace: the child is at fault
            member.kill()

    def _handle(self, member: Member, message: Frame) -> None:
        """Act on a frame, or hand it on to its target.

        Raises:
            ValueError: nothing that a member of this role may say.
        """
        for fd in message.fds:
            os.close(fd)
        if message.fds or message.kind not in _SPEAKS[member.role]:
            raise ValueError(f"a {member.role} may not send {message.kind.name} with {len(message.fds)} descriptors")
        message.source = member.number
        handler = self._handlers.get(message.kind)
        if handler is not None:
            handler(member, message)
        elif message.target == CONTROLLER:
            self.family.send(self.family.one(Role.CONTROLLER), message)
        else:
            self.family.send(self.family.members.get(message.target), message)

    def _mute(self, member: Member) -> None:
        """Stop listening to a link at its end; the process itself is judged by waitpid."""
        member.muted = True
        try:
            self._selector.unregister(member.link)
        except (KeyError, ValueError):
            pass

    # -- what members say ----------------------------------------------------------------------------------

    def _on_ready(self, member: Member, _: Frame) -> None:
        member.ready = True
        if member.role is Role.GATEWAY:
            self._tell_controller(Kind.READY, {"member": member.number})

    def _on_forked(self, _: Member, message: Frame) -> None:
        body = message.json()
        dead = self.family.named(body["member"], body["pid"])
        member = self.family.members.get(body["member"])
        if member is not None:
            self.workers.named(member)
        if dead is not None:
            self._on_death(*dead)

    def _on_kill(self, sender: Member, message: Frame) -> None:
        body = message.json()
        victim = self.family.members.get(body["member"])
        if victim is not None and victim.role in (Role.WORKER, Role.GATEWAY):
            log.error("%r is killed, as %r asked: %s", victim, sender, body["why"])
            victim.kill()

    def _tell_controller(self, kind: Kind, body: dict[str, Any]) -> None:
        message = frame(kind, body, target=CONTROLLER)
        self.family.send(self.family.one(Role.CONTROLLER), message)

    # -- death ---------------------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        for number in self._wakeup[0].recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
        for member, code in list(self.family.reap()):
            self._on_death(member, code)

    def _on_death(self, member: Member, code: int) -> None:
        """Hear its last words, forget it, and start its successor."""
        self._last_words(member)
        self._mute(member)
        self.family.remove(member)
        expected = self._stopping or self.workers.is_retiring(member)
        log.log(logging.INFO if expected else logging.WARNING, "%r ended with %s", member, code)
        if self._stopping and member.role is Role.GATEWAY and code:
            self._exit = 1  # it cut requests off, or died with them
        if member.role is Role.WORKER:
            self.workers.died(member, code)
        elif code == EXIT_CONFIGURATION:
            self._stopping, self._exit = True, 2
        else:
            self._tell_controller(
                Kind.DIED, {"role": member.role, "member": member.number, "pid": member.pid, "code": code}
            )
            self._replace(member)
        self._continue_stop()

    def _last_words(self, member: Member) -> None:
        try:
            while (message := member.link.receive()) is not None:
                self._handle(member, message)
        except (LinkClosed, *_NONSENSE):
            pass

    def _replace(self, member: Member) -> None:
        if member.role is Role.ZYGOTE:
            for orphan in [m for m in self.family.of(Role.WORKER) if m.pid is None]:
                self._on_death(orphan, -signal.SIGKILL)
        quick = monotonic() - member.started < STABLE_AFTER
        self._deaths[member.role] = self._deaths.get(member.role, 0) + 1 if quick else 1
        self._later(backoff(self._deaths[member.role]), lambda: self._start_again(member.role))

    def _start_again(self, role: Role) -> None:
        """Start a successor; a machine that is out of processes or memory for now is asked again."""
        try:
            self._start(role)
        except OSError as error:
            self._deaths[role] += 1
            log.error("no %s can be started (%s); trying again", role, error.strerror)  # noqa: TRY400
            self._later(backoff(self._deaths[role]), lambda: self._start_again(role))

    def _kill_if_alive(self, member: Member) -> None:
        if member.number in self.family.members:
            member.kill()

    # -- stop ----------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Gateways answer what is in flight; then the rest ends. A second signal ends everything now."""
        if self._stopping:
            self._exit = 1
            return
        log.info("stopping: answering what is in flight")
        self._stopping = True
        self._http.close()
        for gateway in self.family.of(Role.GATEWAY):
            self.family.send(gateway, frame(Kind.STOP))
        self._later(self.settings.lame_duck + self.settings.drain_deadline, self._overdue)
        self._continue_stop()

    def _continue_stop(self) -> None:
        if self._stopping and self._exit is None and not self.family.of(Role.GATEWAY):
            log.info("stopped")
            self._exit = 0

    def _overdue(self) -> None:
        log.error("the drain deadline has passed; ending with requests in flight")
        self._exit = 1


def _memory(value: object) -> int:
    """A memfd with a value as JSON: what grows with the number of models does not fit a frame."""
    fd = os.memfd_create("changeover-known", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "w") as file:
        json.dump(value, file)
    return fd


def _raise_descriptors() -> None:
    """Let this process and its children have as many descriptors as they may: each client takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _ENOUGH_DESCRIPTORS)), hard))


def _listen(host: str, port: int, flag: str) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise Conflict(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with {flag}",
            reason="port_taken",
        ) from error


def _lock(settings: Settings) -> int:
    """One server a state folder."""
    fd = os.open(settings.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(
            f"the state folder {settings.state} belongs to a running server; stop it or give another --state-dir",
            reason="state_dir_in_use",
        ) from None
    return fd
