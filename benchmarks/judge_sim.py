"""The judge against simulated traffic: false rollbacks, power, guarantees, and known ways to be wrong beside it.

    python benchmarks/judge_sim.py [--rollouts N] [--jobs N] [--quick] [--parts PART,...] [--append FILE]

The whole takes long; --parts takes some of `PARTS_OF_IT`, and with --append the rollouts of identical versions that are
in FILE already are not simulated again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import judge_controls as controls
from changeover.rollout.judge import Judge, Limits, Verdict
from changeover.rollout.judge.agreement import Agreement
from changeover.rollout.judge.betting import Count, Family, Guess, log_bet
from changeover.rollout.judge.errors import Errors
from changeover.rollout.judge.findings import ALPHA, PARTS
from changeover.telemetry.evidence import Arm, Pairs, Window
from judge_traffic import PLAN, Step, Traffic, simulate, windows
from kept import Kept
from rig import emit, say, verdict

THRESHOLD = math.log(PARTS / ALPHA)
CHUNK = 50
PIECE = 10
"""Identical rollouts that one job plays: what an interrupted run loses."""
IDENTICAL = {
    "heavy tails and bursts": Traffic(),
    "with failures": Traffic(failures=0.004, day=0.6),
    "with failures that take a batch along": Traffic(failures=0.004, lumps=True, flips=0.008),
    "keyed, few keys": Traffic(keys=500, key_cost=0.6, bad_keys=0.02),
    "keyed, many keys": Traffic(keys=20_000, key_cost=0.6, bad_keys=0.005, failures=0.001),
    "half loaded, wild machine": Traffic(utilisation=0.5, drift=0.6, tail=0.7),
    "each worker with slow phases of its own": Traffic(own=0.15),
}


class Played(NamedTuple):
    """What became of a rollout.

    Attributes:
        reason: why it failed, empty when it did not.
        second, requests: when, and after how many of the candidate's.
        held_up: steps that were in doubt when their hold was over.
    """

    reason: str
    second: int
    requests: int
    held_up: int


def play(traffic: Traffic, plan: tuple[Step, ...], rollouts: int, seed: int) -> list[Played]:
    """Judge some rollouts at every tick."""
    random = np.random.default_rng(seed)
    events, out = simulate(traffic, plan, rollouts, random), []
    ends = set(np.cumsum([step.seconds for step in plan]) - 1)
    for rollout in range(rollouts):
        judge, requests, reason, second, held_up = Judge(Limits()), 0, "", 0, 0
        for second, window in enumerate(windows(events, rollout, plan, traffic, random)):
            judge.observe(window)
            requests += window.candidate.requests
            ruling = judge.ruling(float(second), 0, 0.0 if second in ends else 1e9, 1e9)
            held_up += ruling.reason == "doubt" and second in ends
            if ruling.verdict is Verdict.FAILED:
                reason = ruling.reason
                break
        out.append(Played(reason, second, requests, held_up))
    return out


def identical(rollouts: int, pool: ProcessPoolExecutor, kept: Kept) -> None:
    """A/A: how many rollouts of identical versions are taken back."""
    done = {row["chunk"] for row in kept.rows}
    jobs: dict[Future[list[Played]], tuple[int, str]] = {}
    names = list(IDENTICAL)
    for chunk in range(math.ceil(rollouts / PIECE)):
        name, size = names[chunk % len(names)], min(PIECE, rollouts - chunk * PIECE)
        if chunk not in done:
            jobs[pool.submit(play, IDENTICAL[name], PLAN, size, 1000 + chunk)] = chunk, name
    for job in as_completed(jobs):
        chunk, name = jobs[job]
        found = job.result()
        kept.add({"chunk": chunk, "traffic": name, "rollouts": len(found), "held_up": sum(r.held_up for r in found),
                  "reasons": [r.reason for r in found if r.reason]})  # fmt: skip
        say(f"identical versions: {sum(r['rollouts'] for r in kept.rows)} rollouts, "
            f"{sum(len(r['reasons']) for r in kept.rows)} taken back")  # fmt: skip
    _identical_told(rollouts, names, kept)


def _identical_told(rollouts: int, names: list[str], kept: Kept) -> None:
    false: Counter[str] = Counter()
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row in kept.rows:
        total[row["traffic"]] += row["rollouts"]
        false[row["traffic"]] += len(row["reasons"])
        reasons.update(row["reasons"])
    back = sum(false.values())
    allowed = math.floor(0.004 * rollouts)
    emit("judge_false_rollbacks", met=back <= max(allowed, 1 if rollouts < 250 else 0), rollouts=sum(total.values()),
         taken_back=back, upper_95=round(upper(back, rollouts), 5), reasons=dict(reasons),
         by_traffic={name: f"{false[name]} of {total[name]}" for name in names},
         reach="<= 4 of 1,000 (upper 95 % bound < 1 %)")  # fmt: skip
    steps, held_up = rollouts * len(PLAN), sum(row["held_up"] for row in kept.rows)
    emit("judge_doubts_of_healthy", met=held_up <= 0.02 * steps, steps=steps, held_up=held_up,
         reach="<= 2 % of the steps of identical versions last longer than their hold")  # fmt: skip


def upper(hits: int, trials: int) -> float:
    """The upper end of the exact one-sided 95 % interval of Clopper and Pearson."""
    low, high = hits / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(math.comb(trials, k) * middle**k * (1 - middle) ** (trials - k) for k in range(hits + 1))
        low, high = (middle, high) if tail > 0.05 else (low, middle)
    return high


def until(ticks: Iterator[int], most: int) -> int:
    """Candidate requests until a test says that it failed."""
    requests = 0
    for requests in ticks:
        if requests >= most:
            break
    return requests


def errors_found(share: float, random: np.random.Generator) -> Iterator[int]:
    """From 0 to 1 % errors, 200 requests a second, peeking at each."""
    test, requests, second = Errors(0.001, THRESHOLD), 0, 0
    while test.peak < THRESHOLD:
        n1 = random.binomial(200, share)
        span = (second * 10**9, (second + 1) * 10**9)
        test.observe(Window((1, 1, 1), *span, int(share * 1e4), Arm(200 - n1), Arm(n1, random.binomial(n1, 0.01))))
        requests, second = requests + n1, second + 1
        yield requests


def flips_found(rate: float, random: np.random.Generator) -> Iterator[int]:
    """Flips against a limit of 1 %, ten pairs a second."""
    test = Agreement(0.01, THRESHOLD)
    while test.peak < THRESHOLD:
        test.observe(Pairs(10, random.binomial(10, rate)))
        yield test.pairs


def spread(values: list[int]) -> dict[str, int]:
    """Median and 90th percentile."""
    return {"median": int(np.median(values)), "p90": int(np.quantile(values, 0.9))}


def power(runs: int, pool: ProcessPoolExecutor) -> None:
    """How many requests of the candidate it takes to see that it is worse."""
    for share in (0.05, 0.01, 0.25, 0.5):
        found = spread([until(errors_found(share, np.random.default_rng(s)), 20_000) for s in range(runs)])
        bound = share <= 0.05
        emit("judge_power_errors", met=not bound or (found["median"] <= 700 and found["p90"] <= 1500), **found,
             weight=share, change="0 to 1 %", reach="<= 700 (1,500) requests" if bound else "reported")  # fmt: skip
    for rate in (0.03, 0.02):
        found = spread([until(flips_found(rate, np.random.default_rng(s)), 40_000) for s in range(runs)])
        bound = rate > 0.02
        emit("judge_power_flips", met=not bound or (found["median"] <= 800 and found["p90"] <= 1500), **found,
             rate=rate, limit=0.01, reach="<= 800 (1,500) pairs" if bound else "reported")  # fmt: skip
    # CPU time of a fixed-shape model: p95 1.05 to 1.4 times p50, as measured; Traffic() is wilder, and hardly any batch
    # of its active version is as small as the candidate's.
    for traffic in (Traffic(rate=40, utilisation=0.6, tail=0.2), Traffic(rate=60, tail=0.2), Traffic()):
        slower = played(replace(traffic, candidate_cost=2.0), (Step(500, 60),), runs, pool)
        bound = traffic.utilisation < 0.9
        emit("judge_power_work", met=not bound or (slower["median"] <= 60 and slower["p90"] <= 150), **slower,
             change="work p50 x 2", weight=0.05, utilisation=traffic.utilisation,
             run_ms=round(1e3 * traffic.utilisation / traffic.rate, 1),
             reach="<= 60 (150) requests" if bound else "reported")  # fmt: skip
    tail = played(Traffic(utilisation=0.5, candidate_tail=0.03), (Step(2500, 120),), min(runs, 100), pool)
    emit("judge_power_tail", met=True, **tail, change="3 % of runs take six times as long: p99 about x 2",
         weight=0.25, reach="reported, no bound")  # fmt: skip


def played(traffic: Traffic, plan: tuple[Step, ...], runs: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Requests until failed, in simulated traffic; rollouts in which nothing was found count with all of theirs."""
    jobs = [pool.submit(play, traffic, plan, CHUNK, 50 + n) for n in range(math.ceil(runs / CHUNK))]
    results = [result for job in jobs for result in job.result()]
    found = spread([result.requests for result in results])
    reasons = Counter(result.reason or "nothing" for result in results)
    return {**found, "of": len(results), "found": dict(reasons)}


def hasty(runs: int) -> None:
    """A step without a hold, and a candidate that breaks wholly in some second: is it ever clear after that?

    Beside it the rule without doubts: clear as long as nothing has failed.
    """
    for broken in (0, 1, 9, 29, 300):
        clear, undoubted = (sum(counts) for counts in zip(*(hasted(broken, seed) for seed in range(runs)), strict=True))
        emit("judge_hasty", met=clear <= runs // 200 and undoubted > 0, breaks_in_second=broken, runs=runs, clear=clear,
             without_doubts=undoubted, reach="clear in 1 run of 200 at most, once three requests failed")  # fmt: skip


def hasted(broken: int, seed: int) -> tuple[int, int]:
    """Seconds in which the judge says clear, and in which it has not said failed, after three failed requests."""
    random, judge, seen = np.random.default_rng(seed), Judge(Limits()), 0
    rate, base = random.choice([1.5, 8.0, 20.0, 100.0]), random.choice([0.0, 0.005])
    base = base if broken > 1 else 0.0  # a failure of the active version among a dozen requests is a reason to wait
    clear = undoubted = 0
    for second in range(broken + 60):
        ours, theirs = random.poisson(rate), random.poisson(10 * rate)
        failed = ours if second >= broken else random.binomial(ours, base)
        seen += failed if second >= broken else 0
        span = (second * 10**9, (second + 1) * 10**9)
        judge.observe(Window((1, 1, 1), *span, 900, Arm(theirs, random.binomial(theirs, base)), Arm(ours, failed)))
        found = judge.ruling(float(second), 0, 0.0, 1e9).verdict
        if found is Verdict.FAILED:
            break
        clear += seen > 2 and found is Verdict.CLEAR
        undoubted += seen > 2
    return clear, undoubted


def guarantees(runs: int) -> None:
    """At the very edge of the hypothesis, looked at 300 times: the share that ever crosses, against its level."""
    for base in (0.0, 0.002, 0.05):
        random, level = np.random.default_rng(17), 0.01
        family = Family(runs, (0.25, 0.25, 0.25, 0.25))
        guess = Guess(base + np.array([0.004, 0.02, 0.08, 0.3]), base)
        for _ in range(300):
            first, second = random.binomial(10, base + 0.002, (runs, 1)), random.binomial(190, base, (runs, 1))
            family.grow(log_bet(Count(first, 10), Count(second, 190), 0.002, guess))
        crossed = float((family.peaks >= math.log(1 / level)).mean())
        emit("judge_level", met=crossed <= level + 3 * math.sqrt(level / runs), baseline=base, looks=300, runs=runs,
             crossed=crossed, level=level, reach="<= level")  # fmt: skip


def wrong(rollouts: int) -> None:
    """Negative controls: what the judge does not do, and why."""
    cases: dict[str, Callable[[int, np.random.Generator], dict[str, float]]] = {
        "bands for independent latencies": controls.independent_bands,
        "a z-test at every tick": controls.peeking,
        "requests of keys as units": controls.requests_of_keys,
        "counts of all steps pooled": controls.pooled_steps,
    }
    for name, control in cases.items():
        say(f"negative control: {name}")
        found = control(rollouts, np.random.default_rng(23))
        emit("judge_wrong_way", met=found["taken_back"] > 0.05 and found.get("judge", 0.0) <= 0.05,
             way=name, rollouts=rollouts, **found, reach="errs in > 5 %, or the simulator shows nothing")  # fmt: skip
    found = controls.slow_at_one_percent(rollouts, np.random.default_rng(23))
    emit("judge_wrong_way", met=found["p99_against_active"] < 1, way="end-to-end p99 at 1 % weight", **found,
         reach="a candidate twice as slow looks faster")  # fmt: skip


PARTS_OF_IT = ("guarantees", "hasty", "power", "wrong", "identical")


def main(rollouts: int, jobs: int, parts: Sequence[str], quick: bool, kept: Kept) -> None:
    """Run and print."""
    with ProcessPoolExecutor(jobs) as pool:
        if "guarantees" in parts:
            guarantees(500 if quick else 4000)
        if "hasty" in parts:
            hasty(20 if quick else 200)
        if "power" in parts:
            power(40 if quick else 400, pool)
        if "wrong" in parts:
            wrong(20 if quick else 100)
        if "identical" in parts:
            identical(rollouts, pool, kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="judge_sim.py")
    parser.add_argument("--rollouts", type=int, default=0, metavar="N", help="identical ones; default 1000")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--parts", default=",".join(PARTS_OF_IT), metavar="PART,...")
    parser.add_argument("--append", type=Path, metavar="FILE", help="keeps the rollouts of identical versions")
    given = parser.parse_args()
    wanted = given.rollouts or (60 if given.quick else 1000)
    found = Kept(given.append, {"bench": "judge_sim", "rollouts": wanted, "chunk": PIECE})
    main(wanted, given.jobs, given.parts.split(","), given.quick, found)
    sys.exit(verdict())
