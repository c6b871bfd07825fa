"""What a changeover costs the control plane: CPU time by process, and journal commits.

    python benchmarks/control_cost.py [CHANGEOVERS]

A small model is pushed over and over with strategy `instant` and no undo window, without any load. CPU time is what
the kernel counts for each thread; what an idle server uses in the same time is taken off. Commits are counted in the
journal's write-ahead log.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

from changeover.demo import digits
from rig import Server, emit, median, say, verdict

IDLE = 3.0
PAUSE = 0.4
CERTIFIED = 6.0
REACH_MS = 30.0
_COMMIT_FRAME = struct.Struct(">II")
_WAL_HEADER, _FRAME_HEADER = 32, 24


def main(changeovers: int) -> None:
    """Measure and print."""
    with Server({"digits": digits.model_bytes("1")}) as server:
        roles = _roles(server.process.pid)
        time.sleep(CERTIFIED)
        idle = _idle(roles)
        say(f"control cost: idle {idle}")
        server.finished(server.push("digits", 2, digits.model_bytes("2")))
        time.sleep(PAUSE)
        log = server.folder / "state" / "journal.sqlite-wal"
        before, started, commits, wall = _used(roles), time.monotonic(), [], []
        for number in range(changeovers):
            commits += [_change(server, number + 3, log, wall)]
        time.sleep(CERTIFIED)
        took, after = time.monotonic() - started, _used(roles)
        cost = {k: round(((after[k] - before[k]) - idle[k] * took) / changeovers, 2) for k in roles}
        report(cost, idle, [c for c in commits if c is not None], wall, _store(server))


def _change(server: Server, version: int, log: Path, wall: list[float]) -> int | None:
    """One changeover; the commits it took, None when the log was begun anew meanwhile."""
    first = _commits(log)
    start = time.monotonic()
    server.finished(server.push("digits", version, digits.model_bytes("12"[version % 2 == 0])))
    wall.append(time.monotonic() - start)
    time.sleep(PAUSE)
    last = _commits(log)
    say(f"control cost: version {version}, {wall[-1] * 1e3:.0f} ms")
    return last[1] - first[1] if last[0] == first[0] else None


def report(
    cost: dict[str, float], idle: dict[str, float], commits: list[int], wall: list[float], switch: dict[str, float]
) -> None:
    """The figures; the reach is for controller and supervisor together."""
    ours = round(cost["controller"] + cost["supervisor"], 2)
    emit("control_cpu_ms", met=ours <= REACH_MS, per_changeover=ours, reach=REACH_MS, by_process=cost)
    emit("control_commits", met=True, per_changeover=median(commits), counted=len(commits))
    emit("control_wall_ms", met=True, push_to_end=round(median(wall) * 1e3, 1), **switch)
    emit("control_idle_ms_per_s", met=True, **{k: round(v, 2) for k, v in idle.items()})


def _store(server: Server) -> dict[str, float]:
    """Medians of the switches' own times, from the certificates."""
    found = server.get("/v1/models/digits/rollouts")["rollouts"][1:]
    switches = [server.certificate(rollout["id"])["switch"] for rollout in found[:-1]]
    return {name: median([s[name] for s in switches]) for name in ("journal_ms", "prepare_ms", "last_ack_ms")}


def _roles(supervisor: int) -> dict[str, int]:
    """Process ids by what the processes are called."""
    roles = {"supervisor": supervisor}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().rstrip(b"\0 ").decode()
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        name = title.removeprefix("changeover: ")
        if parent == supervisor and name in ("controller", "gateway", "zygote"):
            roles[name] = int(entry.name)
    return roles


def _idle(roles: dict[str, int]) -> dict[str, float]:
    """CPU milliseconds a second while nothing happens."""
    before = _used(roles)
    time.sleep(IDLE)
    after = _used(roles)
    return {k: round((after[k] - before[k]) / IDLE, 3) for k in roles}


def _used(roles: dict[str, int]) -> dict[str, float]:
    """CPU milliseconds of each process so far, all threads."""
    return {name: sum(_threads(pid)) / 1e6 for name, pid in roles.items()}


def _threads(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            found.append(int((thread / "schedstat").read_text().split()[0]))
        except OSError:
            continue
    return found


def _commits(log: Path) -> tuple[bytes, int]:
    """Which log it is (its salt), and how many transactions have ended in it."""
    data = log.read_bytes()
    page = int.from_bytes(data[8:12], "big")
    salt, count, at = data[16:24], 0, _WAL_HEADER
    while at + _FRAME_HEADER + page <= len(data) and data[at + 8 : at + 16] == salt:
        count += bool(_COMMIT_FRAME.unpack_from(data, at)[1])
        at += _FRAME_HEADER + page
    return salt, count


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
    sys.exit(verdict())
