"""The processes of a server, seen from outside: who they are, what they hold, and a kill that knows what it breaks."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from changeover.bench.breaks import Kill

LASTING = ("supervisor", "controller", "gateway")
"""The roles that must not grow; workers and their zygote come and go with the versions."""
_TITLE = "changeover: "


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment; memory in bytes."""

    at: float
    role: str
    pid: int
    rss: int
    pss: int
    descriptors: int
    threads: int


class Household:
    """A supervisor and all below it."""

    def __init__(self, supervisor: int, port: int) -> None:
        self._supervisor = psutil.Process(supervisor)
        self._port = port

    def members(self) -> dict[int, str]:
        """Living processes by pid: `supervisor`, `controller`, `gateway`, `zygote`, `worker MODEL/VERSION`."""
        found = {self._supervisor.pid: "supervisor"}
        for process in self._supervisor.children(recursive=True):
            try:
                title = " ".join(process.cmdline()).strip()
                if title.startswith(_TITLE) and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = title.removeprefix(_TITLE)
            except psutil.Error:
                continue
        return found

    def pids(self, role: str) -> list[int]:
        """Of one role; `worker` stands for all workers.

        What the zygote forks is called zygote too until it knows better; the oldest one is the real one.
        """
        found = [pid for pid, title in self.members().items() if title.split()[0] == role]
        return [min(found, key=_born)] if role == "zygote" and found else found

    def samples(self) -> list[Sample]:
        """All processes now; one that ends meanwhile is left out."""
        found = [_sample(pid, title.split()[0]) for pid, title in self.members().items()]
        return [sample for sample in found if sample is not None]

    def kill(self, pid: int, role: str) -> Kill:
        """SIGKILL. A process that holds clients' connections is stopped first, so that they can be listed exactly."""
        held: frozenset[int] = frozenset()
        if role == "gateway":
            os.kill(pid, signal.SIGSTOP)
            _wait_stopped(pid)
            held = held_ports(pid, self._port)
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return Kill(at, role, pid, held)

    def footprint(self) -> dict[str, Any]:
        """What supervisor, controller and gateways hold together, and the shared memory of the whole server."""
        mine = [s for s in self.samples() if s.role in LASTING]
        return {
            "rss_bytes": sum(s.rss for s in mine),
            "pss_bytes": sum(s.pss for s in mine),
            "descriptors": sum(_lasting_descriptors(s.pid) for s in mine),
            "threads": sum(s.threads for s in mine),
            "shared_memory": len(_memfds(list(self.members()))),
            "by_role": {role: sum(s.rss for s in mine if s.role == role) for role in LASTING},
        }


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return float("inf")


def held_ports(pid: int, port: int) -> frozenset[int]:
    """Clients' ports of the TCP connections to `port` that a process holds."""
    mine = _socket_inodes(pid)
    local, held = f":{port:04X}", set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=10)
        here, there = fields[1:3]
        if here.endswith(local) and fields[9] in mine:
            held.add(int(there.rpartition(":")[2], 16))
    return frozenset(held)


def _socket_inodes(pid: int) -> set[str]:
    return {target[8:-1] for target in _descriptors(pid) if target.startswith("socket:[")}


def _lasting_descriptors(pid: int) -> int:
    """Descriptors but for TCP connections, which are the clients' to open and close."""
    inner = {fields[6] for fields in map(str.split, Path("/proc/net/unix").read_text().splitlines())}
    targets = _descriptors(pid)
    return sum(not target.startswith("socket:[") or target[8:-1] in inner for target in targets)


def _descriptors(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(entry.path))
        except OSError:
            continue  # closed meanwhile
    return found


def _memfds(pids: list[int]) -> set[str]:
    """Inodes of the memfds that these processes have open or mapped."""
    found = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            found |= {line.split()[4] for line in lines if "/memfd:" in line}
            for entry in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(entry.path).startswith("/memfd:"):
                    found.add(str(os.stat(entry.path).st_ino))
        except OSError:
            continue
    return found


def _sample(pid: int, role: str) -> Sample | None:
    try:
        process = psutil.Process(pid)
        rss = process.memory_info().rss
        return Sample(time.monotonic(), role, pid, rss, _pss(pid), process.num_fds(), process.num_threads())
    except (psutil.Error, OSError):
        return None


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _wait_stopped(pid: int) -> None:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZX":
            return
        time.sleep(0.0005)


class Sampler:
    """A thread that samples a household once a second."""

    def __init__(self, household: Household, every: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._household = household
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.samples += self._household.samples()
            except psutil.Error:
                return  # the server is gone

    def rows(self) -> list[dict[str, Any]]:
        """As plain values."""
        return [asdict(sample) for sample in self.samples]


class Leaving:
    """A thread that notes when processes end, to the millisecond."""

    def __init__(self) -> None:
        self.ended: dict[int, float] = {}
        self._names: dict[int, int] = {}
        self._poll = select.poll()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leaving", daemon=True)

    def __enter__(self) -> Leaving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for fd in list(self._names):
            os.close(fd)

    def watch(self, pid: int) -> None:
        """Note the end of this process from now on."""
        if pid in self._names.values():
            return
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        self._names[fd] = pid
        self._poll.register(fd, select.POLLIN)

    def _run(self) -> None:
        while not self._stop.is_set():
            for fd, _ in self._poll.poll(20):
                self.ended[self._names.pop(fd)] = time.monotonic()
                self._poll.unregister(fd)
                os.close(fd)
