"""What the gateways counted, over the last minutes: the source of a certificate's windows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic_ns

from changeover.records.certificate import Requests, Window
from changeover.telemetry.observations import difference, merged, percentile
from changeover.transport.control import Observations, Observed

_KEPT_NS = 180 * 10**9
_REPORT_NS = 10**9 // 4


@dataclass(frozen=True, slots=True)
class _Point:
    at_ns: int
    seen: Observed


class Observatory:
    """Cumulative reports by gateway and loading, kept for three minutes."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, int], deque[_Point]] = {}

    def record(self, gateway: int, report: Observations) -> None:
        """Take in a report; repeating one changes nothing."""
        for seen in report.loadings:
            series = self._series.setdefault((gateway, seen.loading), deque())
            series.append(_Point(report.at_ns, seen))
            while len(series) > 2 and series[1].at_ns < report.at_ns - _KEPT_NS:
                series.popleft()

    def gateway_died(self, gateway: int) -> None:
        """Its last report still counts; it is dropped when it is too old to matter."""
        old = monotonic_ns() - _KEPT_NS
        self._series = {k: s for k, s in self._series.items() if k[0] != gateway or s[-1].at_ns > old}

    def forget(self, loading: int) -> None:
        """Drop a released loading's reports, unless they may still be in a window."""
        old = monotonic_ns() - _KEPT_NS
        self._series = {k: s for k, s in self._series.items() if k[1] != loading or s[-1].at_ns > old}

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        """Requests of a model that were answered between two times (to the nearest report, 0.25 s)."""
        spans = [self._span(s, start_ns, end_ns) for s in self._series.values() if s[-1].seen.model == model]
        histogram = merged([difference(b.seen.latency, a.seen.latency if a else {}) for a, b in spans if b is not None])
        seconds = _covered([(a, b) for a, b in spans if b is not None], start_ns, end_ns)
        p50, p99 = percentile(histogram, 0.5), percentile(histogram, 0.99)
        return Window(
            requests=sum(histogram.values()),
            window_s=seconds,
            p50_ms=None if p50 is None else round(p50 * 1e3, 3),
            p99_ms=None if p99 is None else round(p99 * 1e3, 3),
        )

    def requests(self, model: str, start_ns: int, end_ns: int) -> Requests:
        """All requests of a model between two times, and how many of them failed or were shed."""
        totals = [0, 0, 0]
        for series in self._series.values():
            if series[-1].seen.model != model:
                continue
            first, last = self._span(series, start_ns, end_ns)
            if last is not None:
                before, after = first.seen if first else None, last.seen
                totals[0] += after.requests - (before.requests if before else 0)
                totals[1] += after.failed - (before.failed if before else 0)
                totals[2] += after.shed - (before.shed if before else 0)
        return Requests(total=totals[0] + totals[1], failed=totals[1], shielded=0, shed=totals[2])

    @staticmethod
    def _span(series: deque[_Point], start_ns: int, end_ns: int) -> tuple[_Point | None, _Point | None]:
        """The last reports before the start and before the end."""
        before = after = None
        for point in series:
            if point.at_ns <= start_ns:
                before = point
            if point.at_ns <= end_ns:
                after = point
        return before, after


def _covered(spans: list[tuple[_Point | None, _Point]], start_ns: int, end_ns: int) -> float:
    """Seconds that the reports really cover: they come every 0.25 s, and only while there is something to tell."""
    if not spans:
        return round((end_ns - start_ns) / 1e9, 3)
    first = min(max(a.at_ns, start_ns - _REPORT_NS) if a else start_ns for a, _ in spans)
    last = max(b.at_ns for _, b in spans)
    return round(max(last - first, 0) / 1e9, 3)
