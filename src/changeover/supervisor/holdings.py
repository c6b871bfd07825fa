"""What the supervisor keeps for all: the lock, the listening sockets, the route page, the table store and the board.

Everything that can be refused is refused here, before any process starts. Nothing else is kept: a copy of a channel
would hide a peer's death.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import logging
import os
import resource
import socket
from pathlib import Path

from changeover.errors import Conflict, Internal
from changeover.settings import Settings
from changeover.supervisor.family import listen
from changeover.transport import board, page

_PR_SET_CHILD_SUBREAPER = 36
_ENOUGH_DESCRIPTORS = 65_536
_FEWEST_DESCRIPTORS = 256
"""With fewer a gateway has no room for its workers and some clients."""
_ROOMS = ("artifacts", "cache", "weights", "empty", "incoming")
log = logging.getLogger("changeover.supervisor")


class Holdings:
    """Opened once, at the start.

    Raises:
        Conflict: another server uses the state folder (`state_dir_in_use`), or a port is taken (`port_taken`).
        Internal: the state folder cannot be used (`state_unusable`), or this process may open too few files
            (`too_few_descriptors`).
    """

    def __init__(self, settings: Settings) -> None:
        os.environ.update({"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"})
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._settings = settings
        _raise_descriptors()
        self._lock = _lock(_prepared_state(settings.state))
        self._http = _listen(settings.host, settings.http_port, "--http-port")
        self._grpc = _listen(settings.host, settings.grpc_port, "--grpc-port")
        self._control = _listen(settings.host, settings.control_port, "--control-port")
        self._page, self._store = page.create_page(), page.create_store()
        self._board = board.create_board(settings.gateways)
        self._page_ro, self._store_ro = page.read_only(self._page), page.read_only(self._store)
        self._announce()

    def for_gateway(self) -> list[int]:
        """Descriptors that a gateway starts with: listening sockets, page and store to read, the gateways' board."""
        return [self._http.fileno(), self._grpc.fileno(), self._page_ro, self._store_ro, self._board]

    @property
    def open(self) -> bool:
        """Whether a gateway that starts now could still take in who waits."""
        return self._http.fileno() >= 0

    def close_doors(self) -> None:
        """Nobody is taken in any more."""
        self._http.close()
        self._grpc.close()

    def for_controller(self, known: int) -> list[int]:
        """Descriptors that a controller starts with: listening socket, page and store to write, what is known."""
        return [self._control.fileno(), self._page, self._store, known]

    def carries(self, loading: int) -> bool:
        """Whether any table in force sends requests to a loading; also when that cannot be told."""
        words = page.RoutePage(self._page_ro).words
        in_force = [r.data for r in page.TableStore(self._store_ro).read() if words[r.word] == r.epoch]
        try:
            return any(number == loading for data in in_force for _, number in json.loads(data)["buckets"])
        except (ValueError, KeyError, TypeError):
            return True

    def _announce(self) -> None:
        """Write `server.json` into the state folder: where this server listens."""
        host, scheme, state = self._settings.host, self._settings.scheme, self._settings.state
        sockets = {"http": self._http, "grpc": self._grpc, "control": self._control}
        ports = {f"{name}_port": sock.getsockname()[1] for name, sock in sockets.items()}
        path = state / "server.json"
        body = {"pid": os.getpid(), "host": host, **ports, "scheme": scheme}
        try:
            path.with_suffix(".tmp").write_text(json.dumps(body))
            path.with_suffix(".tmp").rename(path)
        except OSError as error:
            raise _unusable(state, error) from error
        log.info(
            "serving on %s://%s:%d and gRPC on %s:%d, control on %s://%s:%d",
            scheme, host, ports["http_port"], host, ports["grpc_port"], scheme, host, ports["control_port"],
        )  # fmt: skip


def memory(value: object) -> int:
    """A memfd with a value as JSON: what grows with the number of models does not fit a frame."""
    fd = os.memfd_create("changeover-known", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "w") as file:
        json.dump(value, file)
    return fd


def _raise_descriptors() -> None:
    """Let this process and its children have as many descriptors as they may: each client takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _FEWEST_DESCRIPTORS:
        raise Internal(
            f"a process may open {hard} files here, and a server needs {_FEWEST_DESCRIPTORS} and one for each client; "
            "raise the hard limit (ulimit -Hn, LimitNOFILE= of a systemd unit)",
            reason="too_few_descriptors",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _ENOUGH_DESCRIPTORS)), hard))


def _listen(host: str, port: int, flag: str) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise Conflict(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with {flag}",
            reason="port_taken",
        ) from error


def _prepared_state(state: Path) -> Path:
    """The state folder with all its rooms."""
    try:
        for name in _ROOMS:
            (state / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(state, error) from error
    return state


def _unusable(state: Path, error: OSError) -> Internal:
    return Internal(
        f"the state folder {state} cannot be used ({error.strerror}: {error.filename}); mend its permissions, "
        "free disk space, remove what is in the way, or give another --state-dir",
        reason="state_unusable",
    )


def _lock(state: Path) -> int:
    """One server a state folder."""
    try:
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(state, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(
            f"the state folder {state} belongs to a running server; stop it or give another --state-dir",
            reason="state_dir_in_use",
        ) from None
    return fd
