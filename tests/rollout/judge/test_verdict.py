"""The judge: words and reasons of a ruling, and a memory that a new controller goes on with."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter

import msgspec
import numpy as np
import pytest

from changeover.rollout.judge import Judge, Limits, Ruling, Verdict
from changeover.telemetry.evidence import Pairs
from tests.rollout.judge.seen import Side, Story, costs


class Bench:
    """A judge, a story, and traffic of a candidate that may be worse."""

    def __init__(self, prove: bool = False, weight: int = 500, seed: int = 1) -> None:
        self.judge, self.story, self.random = Judge(Limits(), prove=prove), Story(weight=weight), None
        self.random = np.random.default_rng(seed)

    def go(self, windows: int, times: float = 1.0, failures: float = 0.0, flips: float = 0.0) -> Ruling:
        for _ in range(windows):
            ours, theirs = costs(self.random, 10, 0.01 * times), costs(self.random, 190, 0.01)
            pairs = Pairs(10, self.random.binomial(10, flips))
            candidate = Side(10, self.random.binomial(10, failures), {1: ours})
            self.judge.observe(self.story.window(candidate, Side(190, 0, {1: theirs}), pairs))
        return self.ruling()

    def ruling(self, **changes: float) -> Ruling:
        asked = {"elapsed": float(self.story.second), "minimum": 200, "hold": 30.0, "max_hold": 1800.0, **changes}
        return self.judge.ruling(**asked)  # type: ignore[arg-type]


def test_a_good_step_waits_for_minimum_and_hold_then_is_clear() -> None:
    """First requests are missing, then seconds; then the smallest regression excluded is stated."""
    bench = Bench()
    early = bench.go(10)
    assert (early.verdict, early.reason) == (Verdict.WAITING, "needs_more")
    assert "need about 100 more requests on the candidate (100 so far), some 10 s" in early.detail
    waiting = bench.go(15)
    assert (waiting.verdict, waiting.reason) == (Verdict.WAITING, "waiting")
    assert waiting.detail == "nothing failed; 5 s of the hold are left"
    assert bench.ruling(hold=float("inf")).detail == "nothing failed"
    clear = bench.go(10)
    assert (clear.verdict, clear.reason) == (Verdict.CLEAR, "clear")
    assert "excluded so far" in clear.detail
    assert "errors 1 points more" in clear.detail  # 350 clean requests, and 350 clean mirrors


@pytest.mark.parametrize(
    ("worse", "reason", "test"),
    [
        ({"failures": 0.3}, "error_rate", "errors"),
        ({"times": 2.5}, "latency_increase", "work_p50"),
        ({"flips": 0.3}, "disagreement", "agreement"),
    ],
)
def test_each_fault_has_its_reason(worse: dict[str, float], reason: str, test: str) -> None:
    """At once, whatever minimum and hold ask for; and what has crossed stays crossed."""
    bench = Bench()
    bench.go(5)
    failed = bench.go(10, **worse)
    assert (failed.verdict, failed.reason) == (Verdict.FAILED, reason)
    assert {f.test for f in failed.findings if f.verdict is Verdict.FAILED} >= {test}
    assert bench.go(100).verdict is Verdict.FAILED


def test_the_guard_has_its_reason() -> None:
    """A candidate whose work is fine and whose answers are late."""
    bench = Bench()
    for _ in range(30):
        sides = Side(40, latency=costs(bench.random, 40, 0.3)), Side(200, latency=costs(bench.random, 200, 0.02))
        bench.judge.observe(bench.story.window(*sides))
    assert bench.ruling().reason == "latency_guard"


def test_without_traffic_it_says_how_much_is_missing() -> None:
    """At the end of max_hold the step is inconclusive, with the number needed."""
    bench = Bench()
    late = bench.ruling(elapsed=1800.0)
    assert (late.verdict, late.reason) == (Verdict.INCONCLUSIVE, "needs_more")
    assert "need about 200 more requests" in late.detail


def test_a_shadow_step_counts_mirrored_requests() -> None:
    """Pairs, and failures of the candidate where the active version answered."""
    bench = Bench(weight=0)
    for _ in range(10):
        bench.judge.observe(bench.story.window(Side(), Side(200), Pairs(compared=10)))
    assert "100 more mirrored requests" in bench.ruling().detail
    assert bench.ruling(minimum=100, hold=1.0).verdict is Verdict.CLEAR


def test_a_new_step_counts_its_own_requests() -> None:
    """Evidence goes on, the minimum begins anew."""
    bench = Bench()
    bench.go(40)
    bench.story.stratum, bench.story.weight = (2, 1, 1), 2_500
    assert "180 more requests" in bench.go(2).detail


def test_proof_is_asked_for_and_given() -> None:
    """With `prove` a step is good when every limit is shown to be kept, and before it says what is missing."""
    bench = Bench(prove=True)
    open_ = bench.go(100)
    assert (open_.verdict, open_.reason) == (Verdict.WAITING, "needs_proof")
    assert "more requests without a regression" in open_.detail
    proved = bench.go(600)
    assert (proved.verdict, proved.reason) == (Verdict.PASSED, "passed")


def test_growth_into_overload_is_refused() -> None:
    """A candidate that costs 1.4 times as much (within the limit) is kept from a weight that its worker cannot bear."""
    bench = Bench()
    bench.story.busy = 0.85
    bench.go(60, times=1.4)
    refused = bench.ruling(next_weight=10_000)
    assert (refused.verdict, refused.reason) == (Verdict.WAITING, "utilisation")
    assert bench.ruling(next_weight=2_500).verdict is Verdict.CLEAR
    assert bench.ruling(next_weight=10_000, elapsed=1801.0).verdict is Verdict.INCONCLUSIVE


def test_few_keys_give_no_verdict() -> None:
    """Keyed traffic with 50 keys on the candidate: not clear, not failed either, however many requests fail."""
    bench = Bench()
    keys = Counter({(10, 5): 50})
    for _ in range(60):
        candidate = Side(50, 25, {1: costs(bench.random, 10, 0.05)}, keys=keys)
        bench.judge.observe(bench.story.window(candidate, Side(500, 0, keys=Counter({(10, 0): 950}))))
    ruling = bench.ruling()
    assert (ruling.verdict, ruling.reason) == (Verdict.WAITING, "needs_keys")
    assert "150 more keys" in ruling.detail
    assert bench.ruling(elapsed=1800.0).verdict is Verdict.INCONCLUSIVE


def test_many_keys_give_one() -> None:
    """With 300 keys on the candidate, half of whose requests fail, it failed."""
    bench = Bench()
    for _ in range(5):
        candidate = Side(300, 150, keys=Counter({(10, 5): 300}))
        bench.judge.observe(bench.story.window(candidate, Side(500, 0, keys=Counter({(10, 0): 950}))))
    assert bench.ruling().reason == "error_rate"


def test_a_new_term_goes_on_where_the_last_was() -> None:
    """The memory is JSON of plain values, and from it the same windows give the same ruling."""
    one, other = Bench(), Bench()
    one.go(50, times=1.2, failures=0.01)
    kept = msgspec.json.encode(one.judge.memory())  # as the journal does: it takes no numbers of numpy
    other.judge.remember(json.loads(kept))
    other.story.second, other.random = one.story.second, np.random.default_rng(9)
    one.random = np.random.default_rng(9)
    assert one.go(30, failures=0.02) == other.go(30, failures=0.02)


def test_identical_versions_are_left_alone() -> None:
    """A small A/A: a dozen rollouts over four steps, with failures and flips within the limits of both."""
    verdicts = set()
    for seed in range(12):
        bench = Bench(seed=seed)
        for epoch in range(4):
            bench.story.stratum = (epoch, 1, 1)
            ruling = bench.go(40, failures=0.0005, flips=0.008)
            for _ in range(5):  # two flips in one second are a doubt for some seconds
                ruling = bench.go(1, failures=0.0005, flips=0.008) if ruling.reason == "doubt" else ruling
            verdicts.add(ruling.verdict)
    assert verdicts == {Verdict.CLEAR}


def test_nothing_is_clear_after_one_window_in_which_all_failed() -> None:
    """The hold is over and no test has crossed, as none does in one window: a doubt, then the verdict."""
    for clean in (0, 1, 30):
        bench = Bench(weight=1000)
        for _ in range(clean):
            bench.judge.observe(bench.story.window(Side(20), Side(180)))
        bench.judge.observe(bench.story.window(Side(20, 20), Side(180)))
        doubt = bench.ruling(minimum=20, hold=0.0)
        assert (doubt.verdict, doubt.reason) == (Verdict.WAITING, "doubt")
        assert "errors" in doubt.detail
        assert bench.ruling(minimum=20, hold=0.0, elapsed=1801.0).verdict is Verdict.INCONCLUSIVE
        for _ in range(4):
            bench.judge.observe(bench.story.window(Side(20, 20), Side(180)))
        assert bench.ruling(minimum=20, hold=0.0).reason == "error_rate"


def test_a_doubt_passes() -> None:
    """One batch that was lost is not held against a candidate for ever: some good seconds, and the step is clear."""
    bench = Bench(weight=1000)
    bench.judge.observe(bench.story.window(Side(20, 20), Side(180)))
    seconds = 0
    while bench.ruling(minimum=20, hold=0.0).reason == "doubt":
        bench.judge.observe(bench.story.window(Side(20), Side(180)))
        seconds += 1
        assert seconds < 20
    assert seconds > 2
    assert bench.ruling(minimum=20, hold=0.0).verdict is Verdict.CLEAR


def test_a_failure_without_a_request_beside_it_is_a_doubt() -> None:
    """The active version had no request yet to compare with."""
    bench = Bench()
    bench.go(30)
    bench.judge.observe(bench.story.window(Side(3, 3), Side(0)))
    assert bench.ruling(hold=0.0).reason == "doubt"


def test_three_windows_are_seen_before_a_step_is_clear() -> None:
    """However short its hold is, for a candidate that fails is convicted by the third."""
    bench = Bench()
    for _ in range(2):
        bench.judge.observe(bench.story.window(Side(300), Side(300)))
        assert bench.ruling(hold=0.0).verdict is Verdict.WAITING
    bench.judge.observe(bench.story.window(Side(300), Side(300)))
    assert bench.ruling(hold=0.0).verdict is Verdict.CLEAR
    assert Bench().ruling(minimum=0, hold=0.0).verdict is Verdict.CLEAR  # nothing comes, and nothing was asked for


def test_a_latency_guard_in_doubt_is_waited_for() -> None:
    """One window of three was late: the step is not clear before the next has spoken."""
    bench = Bench()
    for _ in range(10):
        sides = Side(40, latency=costs(bench.random, 40, 0.3)), Side(200, latency=costs(bench.random, 200, 0.02))
        bench.judge.observe(bench.story.window(*sides))
    assert bench.ruling(hold=0.0).reason == "doubt"
    for _ in range(10):
        sides = Side(40, latency=costs(bench.random, 40, 0.02)), Side(200, latency=costs(bench.random, 200, 0.02))
        bench.judge.observe(bench.story.window(*sides))
    assert bench.ruling(hold=0.0).verdict is Verdict.CLEAR


def test_a_doubt_of_keyed_traffic_passes_with_the_next_step() -> None:
    """What was won before a change of stratum is kept for the verdict, and is no doubt of all that comes after it."""
    bench, keys = Bench(weight=5_000), {(10, 0): 300}

    def second(times: float) -> Ruling:
        works = [costs(bench.random, 300, cost) for cost in (0.01 * times, 0.01)]
        sides = [Side(300, 0, {1: work}, keys=keys) for work in works]
        bench.judge.observe(bench.story.window(*sides))
        return bench.ruling(hold=0.0)

    second(1.0)
    seconds = 0
    while second(3.0).reason != "doubt":
        seconds += 1
        assert seconds < 20
    bench.story.stratum = (1, 2, 1)
    rulings = [second(0.8) for _ in range(10)]
    assert rulings[-1].verdict is Verdict.CLEAR
    assert max(finding.log_e for finding in rulings[-1].findings) > math.log(4)  # it still counts for a verdict


def test_a_doubt_of_the_mirror_stays_in_the_shadow_step() -> None:
    """Who leaves it by hand takes along what was seen, and no doubt that nothing could dispel: no more is mirrored."""
    bench = Bench(weight=0)
    for _ in range(3):
        bench.judge.observe(bench.story.window(Side(), Side(200), Pairs(20, 1)))
    bench.judge.observe(bench.story.window(Side(), Side(200), Pairs(20, 5)))
    assert bench.ruling(minimum=20, hold=0.0).reason == "doubt"
    bench.story.weight, bench.story.stratum = 500, (2, 1, 1)
    for _ in range(3):
        bench.judge.observe(bench.story.window(Side(20), Side(180)))
    ruling = bench.ruling(minimum=20, hold=0.0)
    assert ruling.verdict is Verdict.CLEAR
    assert next(f for f in ruling.findings if f.test == "agreement").log_e > math.log(4)


def test_keys_speak_for_themselves() -> None:
    """One broken client of many requests is no doubt of a keyed candidate; many broken ones are."""
    for broken, verdict in (
        ({(10, 10): 1, (10, 0): 299}, Verdict.CLEAR),
        ({(2, 2): 20, (10, 0): 300}, Verdict.WAITING),
    ):
        bench = Bench(weight=5_000)
        for _ in range(3):
            bench.judge.observe(
                bench.story.window(Side(300, 0, keys={(10, 0): 300}), Side(300, 0, keys={(10, 0): 300}))
            )
        bench.judge.observe(bench.story.window(Side(300, 40, keys=broken), Side(300, 0, keys={(10, 0): 300})))
        assert bench.ruling(hold=0.0).verdict is verdict


@pytest.mark.parametrize("limit", [0.0, 0.0005, 0.5, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_limit_that_a_plan_may_name_is_judged(limit: float, share: float) -> None:
    """Nothing and everything too: a judge that raised would take the controller along."""
    bench = Bench()
    bench.judge = Judge(Limits(latency_increase=limit, error_rate=limit, disagreement=limit))
    with np.errstate(all="raise", under="ignore"):
        assert bench.ruling().verdict is Verdict.WAITING  # nothing was seen yet
        ruling = bench.go(12, failures=share, flips=share)
    numbers = [f.log_e for f in ruling.findings] + [f.low for f in ruling.findings if f.low is not None]
    assert all(math.isfinite(number) for number in numbers), ruling
    assert (ruling.verdict is Verdict.FAILED) >= (share == 1.0 and limit < 0.5)


def test_a_first_ruling_imports_nothing_more() -> None:
    """In a controller it stands between a gateway and its message; `numpy.ma` alone takes some tens of milliseconds."""
    script = """
import sys
import numpy as np
from tests.rollout.judge.test_verdict import Bench
np.random.default_rng(1)
before = set(sys.modules)
made = Bench(prove=True)
assert made.go(40).verdict
made.judge.memory()
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
