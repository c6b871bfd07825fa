"""What the gateways counted, over the last minutes: the source of a certificate's windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from time import monotonic_ns

import msgspec

from changeover.controller.evidence import Evidence
from changeover.controller.metrics.totals import Totals
from changeover.controller.point import Point, Spread
from changeover.controller.pulse import Pulse
from changeover.controller.series import Series, Thinning
from changeover.records.certificate import Requests, Window
from changeover.telemetry.evidence import Arm
from changeover.telemetry.observations import difference, merged, percentile
from changeover.transport.reports import Observations

_REPORT_NS = 10**9 // 4
_BUSY_NS = 5 * 10**9
_KEPT = Thinning(fine_ns=12 * 10**9, coarse_ns=2 * 10**9, kept_ns=180 * 10**9)


class Observatory:
    """Cumulative reports by gateway and loading, kept for three minutes.

    Attributes:
        evidence: of the rollouts' steps.
        pulse: what was new in each second.
        totals: all that was counted, for `/metrics`.
    """

    def __init__(self) -> None:
        self.evidence = Evidence()
        self.pulse = Pulse()
        self.totals = Totals()
        self._series: dict[tuple[int, int], Series[Point]] = {}
        self._dead: set[int] = set()  # gateways
        self._ended: dict[int, int] = {}  # loadings, and when (CLOCK_MONOTONIC)
        self._inherited: set[tuple[int, int]] = set()
        self._swept_ns = 0

    def inherit(self, gateways: Iterable[int], loadings: Mapping[int, int]) -> None:
        """These lived before this controller: what they tell first was counted for the last one, and is their zero.

        Args:
            gateways: members.
            loadings: each with the epoch in force.
        """
        members = list(gateways)
        self._inherited = set(product(members, loadings))
        self.evidence.inherit(members, loadings)
        self.pulse.inherit(members, loadings)
        self.totals.inherit(members, loadings)

    def record(self, gateway: int, report: Observations) -> None:
        """Take in a report; repeating one changes nothing."""
        for seen in report.loadings:
            key = (gateway, seen.loading)
            series = self._series.setdefault(key, Series[Point](_KEPT))
            if key in self._inherited:
                self._inherited.discard(key)
                series.add(Point.of(0, seen))
            point = Point.of(report.at_ns, seen)
            series.add(point)
            if seen.loading not in self._ended:  # a last report that comes late would bring its series back for good
                self.pulse.record(gateway, point)
                self.totals.record(gateway, point)
        living = self._of_the_living(report)
        self.totals.hear(gateway, living)
        self.evidence.record(gateway, monotonic_ns(), living)
        if report.at_ns > self._swept_ns + _KEPT.coarse_ns:
            self._swept_ns = report.at_ns
            self._sweep(report.at_ns)

    def _of_the_living(self, report: Observations) -> Observations:
        """A report without the loadings that were released."""
        ended = self._ended
        told = [row.loading for row in report.loadings] + [row.loading for row in report.tallies]
        if ended.keys().isdisjoint(told + [row.loading for row in report.pairs]):
            return report
        return Observations(
            report.at_ns,
            [row for row in report.loadings if row.loading not in ended],
            [row for row in report.tallies if row.loading not in ended],
            [row for row in report.pairs if row.loading not in ended],
            report.unrouted,
        )

    def gateway_died(self, gateway: int) -> None:
        """Its last report still counts; it is dropped when no window reaches back to it any more."""
        self._dead.add(gateway)
        self.pulse.gateway_died(gateway)
        self.totals.gateway_died(gateway)

    def forget(self, loading: int) -> None:
        """A loading was released: the same. An idle one that lives on keeps its last report as the zero of the next."""
        self._ended[loading] = monotonic_ns()
        self.evidence.forget(loading)
        self.pulse.forget(loading)
        self.totals.forget(loading)

    def _sweep(self, now_ns: int) -> None:
        """Thin what has ended, for no report will do it; drop what is too old to matter."""
        old = now_ns - _KEPT.kept_ns
        for key, series in list(self._series.items()):
            if key[0] not in self._dead and key[1] not in self._ended:
                continue
            series.thin(now_ns)
            if series.last.at_ns < old:
                del self._series[key]
        self._dead &= {gateway for gateway, _ in self._series}
        known = {loading for _, loading in self._series}
        self._ended = {loading: at for loading, at in self._ended.items() if at >= old or loading in known}

    def recent(self, since_ns: int) -> dict[int, list[Spread]]:
        """What was told of each loading since a time (CLOCK_MONOTONIC), of three minutes at most; not of idle ones."""
        found: dict[int, list[Spread]] = {}
        for (_, loading), series in self._series.items():
            if series.last.at_ns > since_ns:
                found.setdefault(loading, []).append(Spread(series.before(since_ns), series.last))
        return found

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
        """All requests of a model between two times, and how many of them failed, were shielded or shed."""
        totals = [0, 0, 0, 0]
        for series in self._series.values():
            if series.last.seen.model != model:
                continue
            first, last = series.between(start_ns, end_ns)
            if last is not None:
                before, after = first.seen if first else None, last.seen
                totals[0] += after.requests - (before.requests if before else 0)
                totals[1] += after.failed - (before.failed if before else 0)
                totals[2] += after.shed - (before.shed if before else 0)
                totals[3] += after.shielded - (before.shielded if before else 0)
        return Requests(total=totals[0] + totals[1], failed=totals[1], shielded=totals[3], shed=totals[2])

    def traffic(self, loading: int, start_ns: int, end_ns: int) -> Arm:
        """What a loading answered between two times, of which three minutes are known; named by clients or routed."""
        requests = failed = shielded = 0
        latency: dict[int, int] = {}
        for series in [s for (_, number), s in self._series.items() if number == loading]:
            before, after = series.between(max(start_ns, end_ns - _KEPT.kept_ns), end_ns)
            if after is None:
                continue
            zero = before.seen if before else msgspec.structs.replace(after.seen, requests=0, failed=0, shielded=0)
            requests += after.seen.requests - zero.requests
            failed += after.seen.failed - zero.failed
            shielded += after.seen.shielded - zero.shielded
            latency = merged([latency, difference(after.latency, before.latency if before else {})])
        return Arm(requests + failed, failed, shielded, latency)

    def busy(self, loading: int, start_ns: int, end_ns: int) -> float:
        """Utilisation of a loading's worker, 0 to 1: the share of the last seconds in which its runners ran."""
        start_ns = max(start_ns, end_ns - _BUSY_NS)
        share = 0.0
        for series in [s for (_, number), s in self._series.items() if number == loading]:
            before, after = series.between(start_ns, end_ns)
            if after is None or before is after:
                continue
            since, zero = (before.at_ns, before.seen.busy_ns) if before else (start_ns, 0)
            until = after.at_ns if after.at_ns > end_ns - 2 * _REPORT_NS else end_ns  # it is idle when nothing is told
            share += (after.seen.busy_ns - zero) / after.seen.instances / max(until - since, _REPORT_NS)
        return min(max(share, 0.0), 1.0)


def _covered(spans: list[tuple[Point | None, Point]], start_ns: int, end_ns: int) -> float:
    """Seconds that the reports really cover: they come every 0.25 s, and only while there is something to tell."""
    if not spans:
        return round((end_ns - start_ns) / 1e9, 3)
    first = min(max(a.at_ns, start_ns - _REPORT_NS) if a else start_ns for a, _ in spans)
    last = max(b.at_ns for _, b in spans)
    return round(max(last - first, 0) / 1e9, 3)
