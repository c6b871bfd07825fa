"""Reports as they travel."""

from __future__ import annotations

import msgspec

from changeover.transport.control import encode
from changeover.transport.link import MAX_FRAME
from changeover.transport.reports import Observations, Observed, Paired, Tallied

FULL = dict.fromkeys(range(1024), 10**7)


def test_a_report_comes_back_equal() -> None:
    """Keys that are numbers, histograms inside of histograms."""
    report = Observations(
        2**62,
        [Observed(1, "m", 5, 0, 0, {0: 1, 1023: 4}, shielded=1, busy_ns=2**40, instances=4)],
        [Tallied(1, 2**50, 7, 5, 4, 3, 2, {9: 5}, {1: {7: 1}, 32: {8: 4}}, [(10, 1, 3)])],
        [Paired(1, 2**50, 9, 1, 2, 3, {0: 8, 1000: 1})],
    )
    assert msgspec.json.decode(encode(report), type=Observations) == report


def test_a_report_of_an_older_gateway_can_be_read() -> None:
    """Fields that came later have defaults."""
    old = b'{"at_ns":1,"loadings":[{"loading":1,"model":"m","requests":1,"failed":0,"shed":0,"latency":{}}]}'
    assert msgspec.json.decode(old, type=Observations).loadings[0].instances == 1


def test_eight_full_histograms_fit_a_frame() -> None:
    """So many go into one report, whether of loadings or of an arm's work."""
    report = Observations(2**62, [Observed(n, "m" * 64, 2**40, 2**40, 2**40, FULL) for n in range(8)])
    assert len(encode(report)) < MAX_FRAME
