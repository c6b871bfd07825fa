"""Evidence of a step: everything counts once, both arms together, whoever dies."""

from __future__ import annotations

from itertools import pairwise

from changeover.controller.evidence import Evidence
from changeover.telemetry.evidence import Window
from changeover.transport.control import RoutingTable
from changeover.transport.reports import Observations, Paired, Tallied
from tests.gateway.stage import entry

ACTIVE, CANDIDATE, EPOCH = (1, 101), (2, 102), 7


def tallied(loading: int, requests: int, *, member: int = 0, epoch: int = EPOCH, **more: object) -> Tallied:
    """What a gateway has counted of an arm so far: failures are a tenth."""
    values = {"failures": requests // 10, "shielded": requests // 10, "spent": 0, "work": {1: {5: requests}}} | more
    return Tallied(loading, epoch, member or 100 + loading, requests, latency={9: requests}, **values)  # type: ignore[arg-type]


def told(evidence: Evidence, gateway: int, at: int, *tallies: Tallied) -> None:
    """A report is heard."""
    evidence.record(gateway, at, Observations(at, [], list(tallies)))


def window(evidence: Evidence, start: int, end: int) -> Window:
    """Between two times."""
    return evidence.window(EPOCH, ACTIVE, CANDIDATE, (start, end), 0.5, row=True)


def test_windows_that_follow_one_another_hold_everything_once() -> None:
    """However the reports fall between them; a repeated one changes nothing."""
    evidence = Evidence()
    for at in range(1, 21):
        told(evidence, 1, at, tallied(1, 10 * at), tallied(2, at))
        told(evidence, 1, at, tallied(1, 10 * at), tallied(2, at))
    ends = [0, 3, 4, 11, 20]
    found = [window(evidence, start, end) for start, end in pairwise(ends)]
    assert [w.active.requests for w in found] == [30, 10, 70, 90]
    assert [w.candidate.latency for w in found] == [{9: 3}, {9: 1}, {9: 7}, {9: 9}]
    assert sum(w.active.failures for w in found) == 20
    assert sum(w.active.work[1][5] for w in found) == 200
    assert window(evidence, 20, 30).active.requests == 0


def test_nothing_counts_twice_after_a_long_pause() -> None:
    """The report that the last window ended with was thinned out before the next one was asked for."""
    evidence, second = Evidence(), 10**9
    for quarter in range(1, 12):
        told(evidence, 1, quarter * second // 4, tallied(1, quarter), tallied(2, quarter))
    first = window(evidence, 0, int(2.9 * second))
    for seen in (5, 6):  # people look at the rollout meanwhile
        evidence.window(EPOCH, ACTIVE, CANDIDATE, (second, seen * second // 2 + 1), 0.5)
    for quarter in range(12, 60):
        told(evidence, 1, quarter * second // 4, tallied(1, quarter), tallied(2, quarter))
    later = window(evidence, int(2.9 * second), 15 * second)
    assert (first.active.requests, later.active.requests) == (11, 48)


def test_gateways_are_added_and_a_dead_ones_last_report_counts() -> None:
    """It does not have to say it again."""
    evidence = Evidence()
    told(evidence, 1, 5, tallied(1, 100), tallied(2, 10))
    told(evidence, 2, 6, tallied(1, 50), tallied(2, 5))
    told(evidence, 2, 9, tallied(1, 80), tallied(2, 8))
    assert window(evidence, 0, 10).active.requests == 180
    assert window(evidence, 7, 10).candidate.requests == 3


def test_the_stratum_and_the_weight_are_told() -> None:
    """Epoch, both workers, buckets."""
    evidence = Evidence()
    table = RoutingTable("m", 1, EPOCH, [(500, 2), (9500, 1)], [entry(1, "3"), entry(2, "4")], 1, candidate=2)
    evidence.drawn(table)
    found = window(evidence, 3, 9)
    assert (found.stratum, found.weight, found.busy) == ((7, 102, 101), 500, 0.5)
    assert (found.start_ns, found.end_ns) == (3, 9)
    evidence.forget(2)
    assert window(evidence, 3, 9).weight == 0


def test_tables_of_the_past_are_forgotten() -> None:
    """A version that serves for months is in the tables of every candidate that was refused beside it."""
    evidence = Evidence()
    for epoch in range(1, 201):
        entries = [entry(1, "3"), entry(1000 + epoch, "4")]
        evidence.drawn(
            RoutingTable("m", 1, epoch, [(500, 1000 + epoch), (9500, 1)], entries, 1, candidate=1000 + epoch)
        )
        found = evidence.window(epoch, ACTIVE, (1000 + epoch, 0), (3, 9), 0.5)
        assert found.weight == 500
        evidence.forget(1000 + epoch)
    assert len(evidence._weights) <= 2


def test_an_earlier_worker_still_counts_but_not_its_keys() -> None:
    """A crash is a failure of the worker that died; the keys' counts are of the one that lives."""
    evidence = Evidence()
    told(evidence, 1, 5, tallied(2, 10, member=50, keys=[(1, 0, 10)]))
    told(evidence, 1, 6, tallied(2, 20, member=102, keys=[(2, 1, 10)]))
    told(evidence, 2, 6, tallied(2, 30, member=102, keys=[(2, 1, 5), (3, 0, 1)]))
    found = window(evidence, 0, 9).candidate
    assert found.requests == 60
    assert found.keys == {(2, 1): 15, (3, 0): 1}


def test_another_step_is_another_stratum() -> None:
    """Counts of two epochs are never put together, and of old ones nothing is kept."""
    evidence = Evidence()
    for epoch in (5, 6, 7):
        told(evidence, 1, epoch, tallied(2, 10 * epoch, epoch=epoch))
    assert window(evidence, 0, 9).candidate.requests == 70
    assert {key[2] for key in evidence._arms} == {6, 7}
    evidence.forget(2)
    assert not evidence._arms


def test_a_new_term_counts_from_what_it_hears_first() -> None:
    """Of gateways that lived before it, in the step in force; asked from the beginning it tells everything."""
    evidence = Evidence()
    evidence.inherit([1], {1: EPOCH, 2: EPOCH})
    told(evidence, 1, 5, tallied(2, 100))
    told(evidence, 2, 5, tallied(2, 7))
    told(evidence, 1, 6, tallied(2, 110))
    assert window(evidence, 3, 9).candidate.requests == 17
    assert window(evidence, 0, 9).candidate.requests == 117
    later = Evidence()
    later.inherit([1], {2: EPOCH - 1})
    told(later, 1, 5, tallied(2, 100))
    assert window(later, 3, 9).candidate.requests == 100


def test_pairs_are_differences_too() -> None:
    """Of the candidate's epoch, all gateways together."""
    evidence = Evidence()
    for gateway in (1, 2):
        for at in (1, 2, 3):
            apart = (0.5 * gateway, 0.25, 1 - at / 8)
            pairs = Paired(2, EPOCH, 10 * at, at, 2 * at, 3 * at, {0: 9 * at, 1000: at}, apart)
            evidence.record(gateway, at, Observations(at, [], [], [pairs]))
    found = window(evidence, 1, 3).pairs
    assert (found.compared, found.flips, found.failures, found.dropped) == (40, 4, 8, 12)
    assert found.errors == {0: 36, 1000: 4}
    assert found.apart == (1.0, 0.25, 0.625)  # no difference: the farthest so far


def test_a_long_step_takes_bounded_room() -> None:
    """Ten minutes of reports, four a second."""
    evidence = Evidence()
    for number in range(2400):
        told(evidence, 1, number * 10**9 // 4, tallied(2, number))
    (source,) = evidence._arms.values()
    assert len(source.series.old) + len(source.series.recent) < 90
