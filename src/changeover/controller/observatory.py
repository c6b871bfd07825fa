"""What the gateways counted, over the last minutes: the source of a certificate's windows."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, product

import msgspec

from changeover.records.certificate import Requests, Window
from changeover.telemetry.observations import difference, merged, percentile
from changeover.transport.control import Observations, Observed

_KEPT_NS = 180 * 10**9
_REPORT_NS = 10**9 // 4
_FINE_NS = 12 * 10**9
_COARSE_NS = 2 * 10**9


@dataclass(frozen=True, slots=True)
class _Point:
    """A report as it is kept: thousands of them for a model that changes over all the time, so packed.

    Attributes:
        seen: the report without its histogram.
        buckets: numbers of the histogram's buckets, two bytes each.
        counts: what is in them, eight bytes each.
    """

    at_ns: int
    seen: Observed
    buckets: bytes
    counts: bytes

    @classmethod
    def of(cls, at_ns: int, seen: Observed) -> _Point:
        """Pack a report."""
        buckets, counts = array("H", seen.latency.keys()), array("Q", seen.latency.values())
        return cls(at_ns, msgspec.structs.replace(seen, latency={}), buckets.tobytes(), counts.tobytes())

    @property
    def latency(self) -> dict[int, int]:
        """The histogram."""
        return dict(zip(array("H", self.buckets), array("Q", self.counts), strict=True))


@dataclass(slots=True)
class _Series:
    """Reports of one gateway on one loading: all of the last seconds, and one every two seconds before that."""

    old: deque[_Point] = field(default_factory=deque)
    recent: deque[_Point] = field(default_factory=deque)

    @property
    def last(self) -> _Point:
        return self.recent[-1]

    def add(self, point: _Point) -> None:
        self.recent.append(point)
        self.thin(point.at_ns)

    def thin(self, now_ns: int) -> None:
        """Keep less of what is no longer recent; the last report stays."""
        while len(self.recent) > 1 and self.recent[0].at_ns < now_ns - _FINE_NS:
            leaving = self.recent.popleft()
            if not self.old or leaving.at_ns - self.old[-1].at_ns >= _COARSE_NS:
                self.old.append(leaving)
        while len(self.old) > 1 and self.old[1].at_ns < now_ns - _KEPT_NS:
            self.old.popleft()

    def between(self, start_ns: int, end_ns: int) -> tuple[_Point | None, _Point | None]:
        """The last reports before the start and before the end."""
        before = after = None
        for point in chain(self.old, self.recent):
            if point.at_ns <= start_ns:
                before = point
            if point.at_ns <= end_ns:
                after = point
        return before, after


class Observatory:
    """Cumulative reports by gateway and loading, kept for three minutes."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, int], _Series] = {}
        self._dead: set[int] = set()  # gateways
        self._ended: set[int] = set()  # loadings
        self._inherited: set[tuple[int, int]] = set()
        self._swept_ns = 0

    def inherit(self, gateways: Iterable[int], loadings: Iterable[int]) -> None:
        """These lived before this controller: what they tell first was counted for the last one, and is their zero."""
        self._inherited = set(product(gateways, loadings))

    def record(self, gateway: int, report: Observations) -> None:
        """Take in a report; repeating one changes nothing."""
        for seen in report.loadings:
            key = (gateway, seen.loading)
            series = self._series.setdefault(key, _Series())
            if key in self._inherited:
                self._inherited.discard(key)
                series.add(_Point.of(0, seen))
            series.add(_Point.of(report.at_ns, seen))
        if report.at_ns > self._swept_ns + _COARSE_NS:
            self._swept_ns = report.at_ns
            self._sweep(report.at_ns)

    def gateway_died(self, gateway: int) -> None:
        """Its last report still counts; it is dropped when no window reaches back to it any more."""
        self._dead.add(gateway)

    def forget(self, loading: int) -> None:
        """A loading was released: the same. An idle one that lives on keeps its last report as the zero of the next."""
        self._ended.add(loading)

    def _sweep(self, now_ns: int) -> None:
        """Thin what has ended, for no report will do it; drop what is too old to matter."""
        old = now_ns - _KEPT_NS
        for key, series in list(self._series.items()):
            if key[0] not in self._dead and key[1] not in self._ended:
                continue
            series.thin(now_ns)
            if series.last.at_ns < old:
                del self._series[key]
        self._dead &= {gateway for gateway, _ in self._series}
        self._ended &= {loading for _, loading in self._series}

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        """Requests of a model that were answered between two times (to the nearest report, 0.25 s)."""
        spans = [s.between(start_ns, end_ns) for s in self._series.values() if s.last.seen.model == model]
        histogram = merged([difference(b.latency, a.latency if a else {}) for a, b in spans if b is not None])
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
            if series.last.seen.model != model:
                continue
            first, last = series.between(start_ns, end_ns)
            if last is not None:
                before, after = first.seen if first else None, last.seen
                totals[0] += after.requests - (before.requests if before else 0)
                totals[1] += after.failed - (before.failed if before else 0)
                totals[2] += after.shed - (before.shed if before else 0)
        return Requests(total=totals[0] + totals[1], failed=totals[1], shielded=0, shed=totals[2])


def _covered(spans: list[tuple[_Point | None, _Point]], start_ns: int, end_ns: int) -> float:
    """Seconds that the reports really cover: they come every 0.25 s, and only while there is something to tell."""
    if not spans:
        return round((end_ns - start_ns) / 1e9, 3)
    first = min(max(a.at_ns, start_ns - _REPORT_NS) if a else start_ns for a, _ in spans)
    last = max(b.at_ns for _, b in spans)
    return round(max(last - first, 0) / 1e9, 3)
