"""What a soak found, as figures and as a page. Pure: evidence in, JSON values and HTML out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from changeover.bench.breaks import Told, tell_apart
from changeover.bench.charts import Chart, Mark
from changeover.bench.page import Report, page
from changeover.bench.records import Break
from changing import Change
from household import LASTING, Sample
from killing import Killed

FULL_S = 1200.0
CHANGEOVERS = 1000
REQUESTS = 200_000
MOST_GROWTH = 10_000_000
MOST_GONE_S = 1.0
_LETTERS = {"worker": "W", "controller": "C", "gateway": "G", "zygote": "Z"}
Figure = dict[str, Any]


@dataclass(slots=True)
class Evidence:
    """Everything a soak counted. Times are those of `time.monotonic`.

    Attributes:
        capacities: when it was measured, and what was found, in requests a second; empty where a rate was asked for.
        rate: the last one, in requests a second.
        seconds: the generator's progress documents, each with `at`.
        footprints: what lasts, held at quiet moments: `before` and `after` the undisturbed changeovers, at the `end`.
        undisturbed: changeovers in the part without kills.
        workers: the pid of each version's first worker.
        ended: when processes ended.
        stopped_early: somebody ended it before its time.
        trouble: what the bench itself could not do.
    """

    duration_s: float
    seed: int
    gateways: int
    environment: dict[str, Any]
    started: float = 0.0
    capacities: list[tuple[float, float]] = field(default_factory=list)
    rate: float = 0.0
    undisturbed: int = 0
    changes: list[Change] = field(default_factory=list)
    kills: list[Killed] = field(default_factory=list)
    seconds: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    footprints: dict[str, dict[str, Any]] = field(default_factory=dict)
    workers: dict[int, int] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    stopped_early: bool = False
    trouble: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the full soak's figures, for a shorter one."""
        return min(self.duration_s / FULL_S, 1.0)


def figures(evidence: Evidence) -> list[Figure]:
    """All figures, each with `met` and `reach`."""
    told = tell_apart(evidence.breaks, [killed.kill for killed in evidence.kills])
    found = [_changeovers(evidence), _requests(evidence), _broken(evidence, told)]
    found += _growth(evidence)
    found += [_worker_gone(evidence), _kills(evidence)]
    return found


def _changeovers(evidence: Evidence) -> Figure:
    wanted = round(CHANGEOVERS * evidence.share)
    phases = Counter(change.phase for change in evidence.changes)
    quiet = evidence.changes[: evidence.undisturbed]
    well = all(change.phase == "succeeded" for change in quiet)
    return {
        "figure": "changeovers",
        "met": phases["succeeded"] >= wanted and well and not evidence.trouble,
        "succeeded": phases["succeeded"],
        "without_kills": len(quiet),
        "with_kills": len(evidence.changes) - len(quiet),
        "refused_or_lost_with_their_candidate": len(evidence.changes) - phases["succeeded"],
        "reach": f">= {wanted:,}, and all of those without kills",
    }


def _requests(evidence: Evidence) -> Figure:
    result = evidence.result
    wanted = round(REQUESTS * evidence.share)
    keys = ("requests", "failed", "shed", "wrong", "wrong_version", "stale")
    counts = {key: int(result.get(key, -1)) for key in keys}
    return {
        "figure": "requests",
        "met": counts.pop("requests") >= wanted and not any(counts.values()),
        "requests": int(result.get("requests", 0)),
        **counts,
        "per_second": round(result.get("throughput", 0.0)),
        "capacity": _capacity([found for _, found in evidence.capacities]),
        "reach": f">= {wanted:,} requests; 0 failed, shed, wrong and stale",
    }


def _capacity(found: Sequence[float]) -> Figure | None:
    """Of the measurements, in requests a second; None where a rate was asked for."""
    if not found:
        return None
    return {
        "measured": len(found),
        "least": round(min(found)),
        "median": round(median(found)),
        "most": round(max(found)),
    }


def _broken(evidence: Evidence, told: Told) -> Figure:
    gateways = [killed.kill for killed in evidence.kills if killed.kill.role == "gateway"]
    return {
        "figure": "broken_by_kill",
        "met": not told.unexplained,
        "gateways_killed": len(gateways),
        "connections_held": sum(len(kill.held) for kill in gateways),
        "connections_broken": len(told.by_kill),
        "requests_sent_again": told.requests,
        "idle_closed": len(told.idle),
        "unexplained": len(told.unexplained),
        "reach": "only connections that a killed gateway held; their requests succeed on new ones",
    }


def _growth(evidence: Evidence) -> list[Figure]:
    before = evidence.footprints.get("before")
    found = []
    for figure, key in (("growth", "after"), ("growth_with_kills", "end")):
        after = evidence.footprints.get(key)
        if before and after:
            found.append(growth(figure, before, after))
    return found


def growth(figure: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Figure:
    """What supervisor, controller and gateways hold more than before."""
    more = {key: after[key] - before[key] for key in ("rss_bytes", "descriptors", "threads", "shared_memory")}
    memory = more.pop("rss_bytes")
    return {
        "figure": figure,
        "met": memory < MOST_GROWTH and not any(count > 0 for count in more.values()),
        "memory_mb": round(memory / 1e6, 2),
        "memory_before_mb": round(before["rss_bytes"] / 1e6, 1),
        "by_role_mb": {role: round((after["by_role"][role] - before["by_role"][role]) / 1e6, 2) for role in LASTING},
        **more,
        "reach": f"< {MOST_GROWTH / 1e6:.0f} MB; no more descriptors, threads, shared memory",
    }


def _worker_gone(evidence: Evidence) -> Figure:
    found = gone(evidence)
    return {
        "figure": "old_worker_gone",
        "met": bool(found) and max(found) <= MOST_GONE_S,
        "workers": len(found),
        "median_s": round(sorted(found)[len(found) // 2], 3) if found else None,
        "worst_s": round(max(found), 3) if found else None,
        "reach": f"<= {MOST_GONE_S:g} s after its last answer",
    }


def gone(evidence: Evidence) -> list[float]:
    """Seconds from a version's last answer to its worker's end; those that were killed are left out."""
    start = evidence.result.get("started_monotonic", 0.0)
    last = {switch["from"]: start + switch["last_old_s"] for switch in evidence.result.get("switches", ())}
    killed = {k.kill.pid for k in evidence.kills}
    first_kill = min((k.kill.at for k in evidence.kills), default=float("inf"))
    found = []
    for version, pid in evidence.workers.items():
        ended, answered = evidence.ended.get(pid), last.get(str(version))
        if ended is None or answered is None or pid in killed:
            continue
        if ended < first_kill:  # later a dead controller or zygote may hold up the release, as it must
            found.append(ended - answered)
    return found


def _kills(evidence: Evidence) -> Figure:
    roles = Counter(killed.kill.role for killed in evidence.kills)
    back = [killed.back_s for killed in evidence.kills]
    worst = {role: max((k.back_s or 0.0 for k in evidence.kills if k.kill.role == role), default=0.0) for role in roles}
    return {
        "figure": "kills",
        "met": len(roles) == len(_LETTERS) and None not in back,
        "killed": dict(roles),
        "slowest_replacement_s": {role: round(seconds, 2) for role, seconds in worst.items()},
        "reach": "every role killed and replaced",
    }


def document(evidence: Evidence) -> dict[str, Any]:
    """The whole report as JSON values."""
    plain = asdict(evidence)
    plain["kills"] = [
        {"at": k.kill.at, "role": k.kill.role, "pid": k.kill.pid, "held": len(k.kill.held), "back_s": k.back_s}
        for k in evidence.kills
    ]
    plain["breaks"] = [cut._asdict() for cut in evidence.breaks[:10_000]]
    found = figures(evidence)
    return {"met": all(figure["met"] for figure in found), "figures": found, **plain}


def html(evidence: Evidence) -> str:
    """The page."""
    found = figures(evidence)
    missed = [str(figure["figure"]).replace("_", " ") for figure in found if not figure["met"]]
    seconds = evidence.seconds[-1]["at"] - evidence.started if evidence.seconds else 0.0
    verdict = f"missed: {', '.join(missed)}" if missed else "every figure is met"
    early = ", ended early" if evidence.stopped_early else ""
    summary = f"{seconds / 60:.1f} minutes{early}, {len(evidence.changes):,} changeovers: {verdict}."
    environment = evidence.environment | {"seed": evidence.seed, "gateways": evidence.gateways}
    return page(Report("Changeover soak", summary, found, _charts(evidence), environment, _notes(evidence)))


def _notes(evidence: Evidence) -> list[str]:
    return [
        "Latency counts from the moment a request was due. While a process is being replaced its requests wait; "
        "these latencies are shown and have no limit.",
        "A request on a connection that a killed gateway held is sent again on a new connection. The gateway is "
        "stopped and its sockets are listed before the kill, so any other broken connection is a failure.",
        "Changeovers whose candidate, zygote or controller was killed may end refused: the active version then "
        "goes on serving.",
        *evidence.trouble,
    ]


def _charts(evidence: Evidence) -> list[Chart]:
    start, seconds = evidence.started, evidence.seconds
    marks = _marks(evidence)
    rate = {"answers": [(s["at"] - start, float(s["per_second"])) for s in seconds]}
    latency = {
        name: [(s["at"] - start, s[key]) for s in seconds if s[key]]
        for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
    }
    memory = _by_role(evidence.samples, start)
    until = seconds[-1]["at"] - start if seconds else 0.0
    return [
        Chart("Requests a second", "answers each second; ticks: changeovers, dashed: kills", rate, marks, until=until),
        Chart("Latency", "ms, of the answers of each second", latency, marks, until=until, logarithmic=True),
        Chart("Memory by role", "MB resident, all processes of a role together", memory, marks, until=until),
    ]


def _marks(evidence: Evidence) -> list[Mark]:
    start = evidence.started
    marks = [
        Mark(c.ended - start, f"version {c.version} {c.phase}, {c.ended - c.began:.2f} s") for c in evidence.changes
    ]
    for killed in evidence.kills:
        role = killed.kill.role
        back = "never replaced" if killed.back_s is None else f"replaced after {killed.back_s:.2f} s"
        marks.append(Mark(killed.kill.at - start, f"{role} killed, {back}", _LETTERS.get(role, "?")))
    return marks


def _by_role(samples: Sequence[Sample], start: float) -> dict[str, list[tuple[float, float]]]:
    """Resident megabytes of each role, one point a sampling."""
    sums: dict[str, dict[int, float]] = {role: {} for role in (*LASTING, "worker", "zygote")}
    for sample in samples:
        second = round(sample.at - start)
        if second >= 0 and sample.role in sums:
            of_role = sums[sample.role]
            of_role[second] = of_role.get(second, 0.0) + sample.rss / 1e6
    return {role: sorted(points.items()) for role, points in sums.items() if points}
