"""A peer's processes: started on chosen cores, measured as a tree, ended without exception."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

STOP_WITHIN = 20.0


class Tree:
    """A server and all its descendants.

    Args:
        command: what to run; it gets a session of its own.
        folder: its working directory; its log is `server.log` in there.
        variables: its environment beside PATH, HOME and the like.
        cores: a CPU list for `taskset`.
    """

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str], cores: str) -> None:
        self._log = folder / "server.log"
        inherited = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", cores, *command],
                cwd=folder,
                env=inherited | variables,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._root = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        """Process id of the root."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the root process is gone."""
        return self._process.poll() is not None

    def tail(self) -> str:
        """The end of the log, for an error."""
        return self._log.read_text(errors="replace")[-1500:]

    def members(self) -> list[psutil.Process]:
        """The processes there are now."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pss_mb(self) -> float:
        """Memory of the tree: the sum of proportional set sizes, which counts shared pages once."""
        return round(sum(_pss(member) for member in self.members()) / 2**20, 1)

    def cpu_seconds(self) -> float:
        """CPU time the tree used so far, with that of members that ended and were waited for."""
        return sum(_cpu(member) for member in self.members())

    def stop(self) -> None:
        """End all processes of the tree: politely, then by force. Idempotent."""
        members = self.members()
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                members = self.members() or members
        for member in members:
            try:
                member.kill()  # psutil checks that the pid is still the same process
            except psutil.NoSuchProcess:
                pass
        self._process.wait()
        psutil.wait_procs(members[1:], timeout=STOP_WITHIN)


def _pss(member: psutil.Process) -> int:
    try:
        return int(member.memory_full_info().pss)
    except psutil.Error:
        return 0


def _cpu(member: psutil.Process) -> float:
    try:
        times = member.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def reaped_seconds() -> float:
    """CPU time of all children of this process that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def free_ports() -> Iterator[int]:
    """Ports of 127.0.0.1 that nobody listens on at the moment, no two alike."""
    given: set[int] = set()
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in given:
            given.add(port)
            yield port
