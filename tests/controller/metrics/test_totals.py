"""Totals by loading and role: what was told counts once, whoever dies, and to the role that it was counted in."""

from __future__ import annotations

from changeover.controller.metrics.totals import Total, Totals
from changeover.controller.point import Point
from changeover.telemetry.observations import GRPC, HTTP, Counter
from changeover.telemetry.statistics import Ran
from changeover.transport.reports import Observations, Observed, OverGrpc, Paired


class Gateway:
    """Counts requests of one loading and reports."""

    def __init__(self, number: int, totals: Totals) -> None:
        self.number = number
        self.counter = Counter()
        self.runs = 0
        self._totals = totals

    def tell(self, http: int = 0, grpc: int = 0, errors: int = 0, in_flight: int = 0) -> None:
        """Answer so many, and tell all."""
        counter = self.counter
        for protocol in [HTTP] * http + [GRPC] * grpc:
            counter.answered(0.01, protocol)
        for _ in range(errors):
            counter.erred(HTTP, "run_failed", "model")
        self.runs += http + grpc
        part = counter.grpc
        over = OverGrpc({i: n for i, n in enumerate(part.counts) if n}, part.seconds, part.shed) if part else None
        seen = Observed(
            1, "m", counter.requests, 0, counter.shed, counter.sparse(), 0, seconds=counter.seconds, grpc=over,
            errors=[(*key, count) for key, count in counter.errors.items()], in_flight=in_flight,
            ran=Ran(self.runs, self.runs, self.runs, sizes={1: self.runs}),
        )  # fmt: skip
        self._totals.record(self.number, Point.of(0, seen))


def counted(total: Total) -> tuple[int, int, int]:
    """Answers over HTTP and over gRPC, and errors."""
    return total.http.answered, total.grpc.answered, sum(total.errors.values())


def a_house(role: str = "active") -> Totals:
    """Totals of loadings that all have this role."""
    totals = Totals()
    totals.role_of = lambda _model, _loading: role
    return totals


def test_gateways_and_protocols_add_up() -> None:
    """And a repeated report changes nothing."""
    totals = a_house()
    one, two = Gateway(1, totals), Gateway(2, totals)
    one.tell(http=3, grpc=2, in_flight=4)
    two.tell(http=1, errors=5)
    two.tell()
    read = totals.read()
    total = read.total((1, "active"))
    assert counted(total) == (4, 2, 5)
    assert total.errors == {(HTTP, "run_failed", "model"): 5}
    assert (total.runs[0], total.sizes) == (6, {1: 6})
    assert abs(total.http.seconds - 0.04) < 1e-9
    assert read.flying == {1: 4}


def test_what_a_dead_gateway_told_stays() -> None:
    """Its successor begins at nothing; only what is in flight is gone with it."""
    totals = a_house()
    for number in range(1, 6):
        gateway = Gateway(number, totals)
        gateway.tell(http=10, grpc=1, errors=2, in_flight=7)
        totals.gateway_died(number)
    Gateway(9, totals).tell(http=1)
    read = totals.read()
    assert counted(read.total((1, "active"))) == (51, 5, 10)
    assert read.flying == {1: 0}
    assert read.total((1, "active")).sizes == {1: 56}


def test_each_role_has_what_was_counted_in_it() -> None:
    """A candidate that is promoted goes on from nothing as the active one; what drains keeps its role."""
    totals = a_house("candidate")
    gateway = Gateway(1, totals)
    gateway.tell(http=3)
    totals.role_of = lambda _model, _loading: "active"
    gateway.tell(http=4, errors=1)
    totals.role_of = lambda _model, _loading: "none"
    gateway.tell(http=2)
    totals.gateway_died(1)
    read = totals.read()
    assert sorted(read.roles()[1]) == ["active", "candidate"]
    assert counted(read.total((1, "candidate"))) == (3, 0, 0)
    assert counted(read.total((1, "active"))) == (6, 0, 1)


def test_what_was_counted_for_an_earlier_controller_is_the_zero() -> None:
    """Of the gateways that lived then, not of later ones."""
    totals = a_house()
    old, new = Gateway(1, totals), Gateway(2, totals)
    totals.inherit([1], [1])
    old.tell(http=100)
    old.tell(http=5)
    new.tell(http=7)
    assert counted(totals.read().total((1, "active"))) == (12, 0, 0)


def test_what_a_new_loading_has_answered_first_is_no_zero() -> None:
    """Of a gateway that lived before, and of copies too: the last controller cannot have counted it."""
    totals = a_house()
    old = Gateway(1, totals)
    totals.inherit([1], [7])
    old.tell(http=5)
    totals.hear(1, Observations(0, [], [], [Paired(1, 5, 3, 0, 1, 9, {}), Paired(7, 5, 3, 0, 1, 9, {})]))
    read = totals.read()
    assert counted(read.total((1, "active"))) == (5, 0, 0)
    assert read.mirrored == {1: 4, 7: 0}


def test_a_released_loading_leaves_nothing() -> None:
    """Of the living and of the dead."""
    totals = a_house()
    Gateway(1, totals).tell(http=1)
    Gateway(2, totals).tell(http=1)
    totals.gateway_died(2)
    totals.hear(1, Observations(0, [], [], [Paired(1, 5, 3, 0, 1, 9, {})]))
    assert totals.read().mirrored == {1: 4}
    totals.forget(1)
    read = totals.read()
    assert (read.roles(), read.flying, read.mirrored) == ({}, {}, {})


def test_errors_without_a_model_add_up() -> None:
    """Over gateways, the dead included."""
    totals = a_house()
    for gateway in (1, 2):
        totals.hear(gateway, Observations(0, [], unrouted=[(HTTP, "model_not_found", "caller", 3)]))
    totals.gateway_died(1)
    assert totals.read().unrouted == {(HTTP, "model_not_found", "caller"): 6}
