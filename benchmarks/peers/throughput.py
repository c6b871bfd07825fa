"""Throughput of all peers in turn: A B C A B C, so that a ratio is of one time."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers.machine import FOREIGN_LIMIT, Foreign
from peers.peer import Peer
from rig import Wrk, emit, say

CONNECTIONS = (8, 32)
REACH = {"mlserver": 5.0, "triton": 1.5}


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of `wrk`."""

    per_second: float
    p50_ms: float
    p99_ms: float
    foreign: float

    @property
    def quiet(self) -> bool:
        """Nobody else took much of the machine."""
        return self.foreign <= FOREIGN_LIMIT


Cell = tuple[str, str, int]  # peer, form, connections


def measure(peers: Sequence[Peer], folder: Path, *, rounds: int, seconds: int) -> None:
    """Run all cells `rounds` times in turn and print them; the servers are running."""
    found: dict[Cell, list[Sample]] = {}
    broken: dict[Cell, str] = {}
    scripts = {form: Wrk(folder, form, *peers[0].body(form)) for form in ("json", "binary")}
    cells = [(p, f, n) for f in scripts for n in CONNECTIONS for p in peers if f in p.forms]
    for number in range(rounds):
        say(f"peers: throughput, round {number + 1} of {rounds}")
        for peer, form, connections in cells:
            cell = peer.key, form, connections
            if cell in broken:
                continue
            try:
                found.setdefault(cell, []).append(_once(peer, scripts[form], connections, seconds))
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                broken[cell] = str(error)[-300:]
                found.pop(cell, None)
    for peer, form, connections in sorted(cells, key=lambda cell: peers.index(cell[0])):
        reason = broken.get((peer.key, form, connections))
        if reason is None:
            _print(peer, form, connections, found)
        else:
            emit("peers_skipped", met=True, peer=peer.title, part=f"{form}, {connections} connections", reason=reason)


def _once(peer: Peer, wrk: Wrk, connections: int, seconds: int) -> Sample:
    foreign = Foreign(peer)
    run = wrk.run(peer.url, connections=connections, seconds=seconds)
    return Sample(run["per_second"], run["p50_us"] / 1e3, run["p99_us"] / 1e3, foreign.share())


def _print(peer: Peer, form: str, connections: int, found: dict[Cell, list[Sample]]) -> None:
    assert peer.tree is not None
    samples = found[peer.key, form, connections]
    used = _kept(samples)
    values: dict[str, object] = {
        "per_second": round(statistics.median(s.per_second for s in used)),
        "p50_ms": round(statistics.median(s.p50_ms for s in used), 3),
        "p99_ms": round(statistics.median(s.p99_ms for s in used), 3),
        "pss_mb": peer.tree.pss_mb(),
        "rounds": len(samples),
        "disturbed_rounds": sum(not s.quiet for s in samples),
        "foreign_cpu": max(s.foreign for s in samples),
    }
    ratio = _ratio(found.get(("changeover", form, connections)), samples)
    reach = REACH.get(peer.key)
    if ratio is not None and peer.key != "changeover":
        values |= {"ours_to_theirs": ratio, "reach": reach}
    met = reach is None or ratio is None or ratio >= reach
    emit(
        "peers_throughput",
        met=met,
        peer=peer.title,
        model=peer.model.name,
        form=form,
        connections=connections,
        **values,
    )


def _kept(samples: Sequence[Sample]) -> list[Sample]:
    """The undisturbed rounds; all of them where none was."""
    return [s for s in samples if s.quiet] or list(samples)


def _ratio(ours: Sequence[Sample] | None, theirs: Sequence[Sample]) -> float | None:
    """Median over the rounds of ours to theirs, of rounds in which both were undisturbed if there are any."""
    if not ours:
        return None
    pairs = list(zip(ours, theirs, strict=True))
    pairs = [(a, b) for a, b in pairs if a.quiet and b.quiet] or pairs
    return round(statistics.median(a.per_second / b.per_second for a, b in pairs), 2)
