"""A changeover of a large model under load: what a client of each peer feels, loses, and what memory it costs.

An open loop at 0.6 of the server's own capacity, Poisson arrivals, latency from the due time, every answer checked by
value against what the version it names answers to that input. A window is the 2 s from a command; beside the windows
stand the 2 s after the command was done, and the steady time, which is what is farther away from any change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changeover.bench.capacity import CALLERS
from changeover.bench.check import Outcome
from changeover.bench.figures import percentiles
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from peers.machine import Foreign
from peers.peer import Peer
from rig import emit, say

SHARE = 0.6
WINDOW = 2.0
PERIOD = 6.0  # from one command to the next, at least
STEADY = 5.0  # of it, at least, are far from any change
SETTLE = 1.0  # after a window, until the time counts as steady again
LONGEST = 120.0  # after this long no further change of a peer is begun
REACH = 1.2
RELATIVE = 1e-2  # difference up to which values are equal; the versions' answers differ by their own size

Spans = Sequence[tuple[float, float]]


def measure(peer: Peer, changes: int, cores: str) -> None:
    """Start the load on a running peer, change at most `changes` times within `LONGEST`, print."""
    assert peer.tree is not None
    spec = _spec(peer, changes)
    found = _capacity(spec)
    load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=600.0, connections=64)
    foreign = Foreign(peer)
    before = peer.tree.pss_mb()
    with BenchProcess(load) as bench:
        time.sleep(PERIOD - WINDOW)
        commands = _changes(peer, changes)
        time.sleep(SETTLE)
        assert peer.tree is not None
        after = peer.tree.pss_mb()
        bench.stop()
        result, records = bench.result(120), bench.records()
    share = foreign.share()
    values = _latencies(records, commands) | _counts(result, records)
    values |= {"pss_before_mb": before, "pss_after_mb": after, "capacity": round(found, 1), "share": SHARE}
    clean = values["failed"] == 0 and values["wrong"] == 0 and values["wrong_version"] == 0
    met = peer.key != "changeover" or (clean and values["ratio"] is not None and values["ratio"] <= REACH)
    emit("peers_changeover", met=met, peer=peer.title, model=peer.model.name, cores=cores, form=peer.forms[-1],
         changed_by=peer.change_by, changes=len(commands), foreign_cpu=share, reach=REACH, **values)  # fmt: skip


def _spec(peer: Peer, changes: int) -> LoadSpec:
    model = peer.model
    return LoadSpec(model.name, {model.input: model.inputs}, model.expected(changes + 1), port=peer.port,
                    output=model.output, tolerance=RELATIVE, binary="binary" in peer.forms,
                    timeout_s=10.0)  # fmt: skip


def _capacity(spec: LoadSpec) -> float:
    """Requests per second of the best of a few closed loops."""
    with BenchProcess(replace(spec, mode="closed", duration_s=2.0), capacity=True) as bench:
        return float(bench.result(30 + 12 * len(CALLERS))["capacity"])


def _changes(peer: Peer, most: int) -> list[tuple[float, float]]:
    """Change again and again; when each was commanded and when it was done."""
    until = time.monotonic() + LONGEST
    commands = [_change(peer, 2)]
    while len(commands) < most and time.monotonic() < until:
        commands.append(_change(peer, len(commands) + 2))
    return commands


def _change(peer: Peer, version: int) -> tuple[float, float]:
    """One change, then quiet; when it was commanded and when it was done."""
    peer.prepare(version)
    time.sleep(WINDOW / 2)  # what laying out the files disturbed is over
    commanded = time.monotonic()
    peer.change(version)
    done = time.monotonic()
    say(f"peers: {peer.title}, version {version} after {done - commanded:.2f} s")
    time.sleep(max(WINDOW + SETTLE + STEADY, PERIOD - (done - commanded)))
    return commanded, done


def _latencies(records: Records, commands: Spans) -> dict[str, Any]:
    """p99 of the requests due in the windows, pooled over all changes, and in the steady time."""
    due, outcome = records.column("due"), records.column("outcome")
    taken = records.column("received") - due
    answered = outcome != Outcome.FAILED
    windows = _inside(due, [(start, start + WINDOW) for start, _ in commands])
    after = _inside(due, [(done, done + WINDOW) for _, done in commands])
    near = _inside(due, [(start, done + WINDOW + SETTLE) for start, done in commands])
    steady = percentiles(taken[answered & ~near & (due > due.min() + SETTLE)])
    window, later = percentiles(taken[answered & windows]), percentiles(taken[answered & after])
    return {
        "steady_p99_ms": steady.get("p99"),
        "window_p99_ms": window.get("p99"),
        "after_p99_ms": later.get("p99"),
        "worst_ms": max(window.get("max", 0.0), later.get("max", 0.0)),
        "ratio": _ratio(window, steady),
        "ratio_after": _ratio(later, steady),
        "change_s": round(float(np.median([done - start for start, done in commands])), 2),
    }


def _ratio(of: dict[str, float], to: dict[str, float]) -> float | None:
    """p99 to p99; None where no request was answered."""
    return round(of["p99"] / to["p99"], 2) if of and to else None


def _inside(due: NDArray[Any], spans: Spans) -> NDArray[np.bool_]:
    found = np.zeros(len(due), bool)
    for start, stop in spans:
        found |= (due >= start) & (due < stop)
    return found


def _counts(result: dict[str, Any], records: Records) -> dict[str, Any]:
    counted = {key: result[key] for key in ("requests", "failed", "wrong", "wrong_version")}
    return counted | {"failures": records.failures()}
