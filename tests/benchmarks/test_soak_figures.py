"""The figures of a soak, from evidence written by hand: each defect makes its figure miss."""

from __future__ import annotations

import json
from typing import Any

import pytest

from changeover.bench.breaks import Kill
from changeover.bench.records import Break
from changing import Change
from household import Sample
from killing import Killed
from soak_figures import Evidence, document, figures, gone, growth, html

ROLES = ("worker", "controller", "gateway", "zygote")


def footprint(**changes: Any) -> dict[str, Any]:
    roles = {"supervisor": 20_000_000, "controller": 60_000_000, "gateway": 80_000_000}
    base = {"rss_bytes": 160_000_000, "pss_bytes": 1, "descriptors": 60, "threads": 9, "shared_memory": 8}
    return {**base, "by_role": roles, **changes}


def evidence() -> Evidence:
    """A clean soak of 20 minutes: version 2 to 1011, the last ten with a kill of each role."""
    found = Evidence(1200.0, 5, 2, {"cores": 2}, started=100.0, rate=1080.0, undisturbed=1000)
    found.changes = [Change(v, 100.0 + v, 100.2 + v, "succeeded") for v in range(2, 1012)]
    found.capacities = [(100.0, 1000.0), (700.0, 800.0), (760.0, 1200.0)]
    kills = [Kill(1106.0 + i, role, 70 + i, frozenset({40_001})) for i, role in enumerate(ROLES)]
    found.kills = [Killed(kill, 0.4) for kill in kills]
    found.workers, found.ended = {2: 501, 3: 502}, {501: 103.5, 502: 104.4}
    switches = [{"from": str(v), "to": str(v + 1), "last_old_s": float(v + 1)} for v in (2, 3)]
    counts = {
        "requests": 300_000,
        "throughput": 250.4,
        "failed": 0,
        "shed": 0,
        "wrong": 0,
        "wrong_version": 0,
        "stale": 0,
    }
    found.result = {"started_monotonic": 100.0, "switches": switches, **counts}
    found.breaks = [Break(1108.1, 40_001, "connection reset", busy=True, retried=True)]
    found.footprints = {"before": footprint(), "after": footprint(rss_bytes=163_000_000), "end": footprint()}
    row = {"per_second": 900, "p50_ms": 1.0, "p99_ms": 4.0, "requests": 1, "failed": 0}
    found.seconds = [{"at": 100.0 + i, **row} for i in range(1, 1200)]
    found.samples = [Sample(100.0 + i, "gateway", 7 + i % 2, 40_000_000, 30_000_000, 20, 3) for i in range(1200)]
    return found


def missed(found: Evidence) -> set[str]:
    return {str(figure["figure"]) for figure in figures(found) if not figure["met"]}


def test_a_clean_soak_meets_everything() -> None:
    """Without a defect no figure is missed, and the growth and the leaving of workers are told in numbers."""
    found = {figure["figure"]: figure for figure in figures(evidence())}
    assert missed(evidence()) == set()
    assert found["requests"]["per_second"] == 250
    assert found["requests"]["capacity"] == {"measured": 3, "least": 800, "median": 1000, "most": 1200}
    assert found["growth"]["memory_mb"] == 3.0
    assert found["broken_by_kill"]["requests_sent_again"] == 1
    assert found["old_worker_gone"]["worst_s"] == 0.5


@pytest.mark.parametrize("key", ["failed", "shed", "wrong", "wrong_version", "stale"])
def test_one_bad_request_is_one_too_many(key: str) -> None:
    """A single failed, shed, wrong or stale answer misses the figure."""
    found = evidence()
    found.result[key] = 1
    assert missed(found) == {"requests"}


def test_a_break_that_no_kill_explains_is_a_miss() -> None:
    """A connection that the killed gateway did not hold must not break."""
    found = evidence()
    found.breaks.append(Break(1108.1, 40_002, "connection reset", busy=True, retried=True))
    assert missed(found) == {"broken_by_kill"}


@pytest.mark.parametrize(
    "changes", [{"rss_bytes": 170_000_000}, {"descriptors": 61}, {"threads": 10}, {"shared_memory": 9}]
)
def test_growth(changes: dict[str, int]) -> None:
    """10 MB more, or one more descriptor, thread or piece of shared memory, is growth."""
    assert not growth("growth", footprint(), footprint(**changes))["met"]
    assert growth("growth", footprint(**changes), footprint())["met"]


def test_a_worker_that_stays_is_a_miss() -> None:
    """The old worker has to be gone within a second after its last answer; a killed one does not count."""
    found = evidence()
    found.ended[502] = 105.3
    assert missed(found) == {"old_worker_gone"}
    found.kills.append(Killed(Kill(2000.0, "worker", 502), 0.1))
    assert gone(found) == [0.5]


def test_a_role_that_never_came_back_is_a_miss() -> None:
    """Every role has to be killed, and every killed process replaced."""
    found = evidence()
    found.kills[2].back_s = None
    assert missed(found) == {"kills"}
    found.kills = found.kills[:3]
    assert "kills" in missed(found)


def test_a_refused_version_without_kills_is_a_miss() -> None:
    """While nothing is killed every changeover succeeds; with kills some may be refused."""
    found = evidence()
    found.changes[1005] = Change(1007, 1.0, 2.0, "failed")
    assert missed(found) == set()
    found.changes[5] = Change(7, 1.0, 2.0, "failed")
    assert missed(found) == {"changeovers"}


def test_a_soak_that_saw_nothing_still_has_its_report() -> None:
    """Ended before its first request, it is written all the same, with its figures missed."""
    nothing = Evidence(60.0, 1, 2, {}, stopped_early=True)
    assert not document(nothing)["met"]
    assert "ended early" in html(nothing)


def test_the_document_is_json_and_the_page_shows_the_kills() -> None:
    """Everything counted is in the JSON; the page names each kill and the verdict."""
    plain = json.loads(json.dumps(document(evidence())))
    assert (plain["met"], len(plain["changes"]), plain["kills"][2]["held"]) == (True, 1010, 1)
    text = html(evidence())
    assert "every figure is met" in text
    assert text.count("controller killed, replaced after 0.40 s") == 3  # one for each chart
    assert len(text) < 200_000
