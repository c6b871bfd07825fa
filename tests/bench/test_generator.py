"""Load runs against a small real server; each defect injected there must be counted."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import numpy as np
import pytest

from changeover.bench import LoadSpec, run_load
from changeover.errors import InvalidRequest
from tests.bench.stub import EXPECTED, INPUTS, Reply, Request, Stub
from tests.best import best
from tests.held_up import unless_held_up


def load(stub: Stub, **changes: Any) -> LoadSpec:
    """A closed loop of four callers and 200 requests, checked by value."""
    base: dict[str, Any] = {"model": "m", "inputs": {"x": INPUTS}, "expected": EXPECTED, "port": stub.port}
    return LoadSpec(**base | {"mode": "closed", "connections": 4, "requests": 200, "duration_s": 20.0} | changes)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_right_answers_are_clean(binary: bool, mode: str) -> None:
    """A server without defects gives a clean result, in both forms and both loops."""
    with Stub() as stub:
        result = run_load(load(stub, binary=binary, mode=mode, rate=1000.0)).result
    assert result["clean"]
    assert result["checked"]
    assert (result["requests"], result["ok"], result["failed"], result["stale"]) == (200, 200, 0, 0)
    assert result["versions"]["1"]["answers"] == 200
    assert {request.binary for request in stub.requests} == {binary}
    assert stub.connections <= 4


def test_request_on_the_wire() -> None:
    """A request carries the sample with a batch dimension of one, the path of the pinned version and the headers."""
    with Stub() as stub:
        run_load(load(stub, version="1", requests=1, headers=(("changeover-key", "k"),)))
    (request,) = stub.requests
    assert request.path == "/v2/models/m/versions/1/infer"
    assert request.fields["changeover-key"] == "k"
    np.testing.assert_array_equal(request.values, INPUTS[:1])


@pytest.mark.parametrize(
    ("reply", "count", "failures"),
    [
        (Reply(values_of="9"), "wrong", {}),
        (Reply(version="1", values_of="2"), "wrong_version", {}),
        (Reply(version="7", values_of="2"), "wrong_version", {}),
        (Reply(status=503, error={"reason": "overloaded"}), "shed", {"503 overloaded": 1}),
        (Reply(status=503, error={"reason": "queue_full"}), "shed", {"503 queue_full": 1}),
        (Reply(status=503, error={"reason": "model_not_ready"}), "failed", {"503 model_not_ready": 1}),
        (Reply(status=500, error={}), "failed", {"500": 1}),
        (Reply(action="reset"), "failed", {"connection reset": 1}),
        (Reply(action="close"), "failed", {"connection closed": 1}),
        (Reply(action="garbage"), "failed", {"bad answer": 1}),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_one_defect_is_counted_once(reply: Reply, count: str, failures: dict[str, int], binary: bool) -> None:
    """One bad answer among 200 is found, named and spoils the run; the other 199 are well."""
    with Stub(lambda request: reply if request.number == 77 else Reply()) as stub:
        result = run_load(load(stub, binary=binary)).result
    assert not result["clean"]
    assert (result["ok"], result[count]) == (199, 1)
    assert result["failures"] == failures


def test_nan_is_wrong() -> None:
    """An answer that is no number never passes for a right one."""
    with Stub(lambda request: Reply(nan=request.number == 77)) as stub:
        result = run_load(load(stub)).result
    assert (result["ok"], result["wrong"]) == (199, 1)


def test_stale_answer_is_counted() -> None:
    """After the first answer of version 2 was received, one later request answered by version 1 is stale."""
    with Stub(lambda r: Reply(version="1" if r.number < 100 or r.number == 150 else "2")) as stub:
        result = run_load(load(stub, order=("1", "2"))).result
    assert (result["stale"], result["wrong"], result["wrong_version"], result["clean"]) == (1, 0, 0, False)
    (switch,) = result["switches"]
    assert (switch["from"], switch["to"], switch["stale"]) == ("1", "2", 1)


def test_late_answer_of_old_version_is_not_stale() -> None:
    """A request sent before the switch may be answered by the old version long after it."""

    def script(request: Request) -> Reply:
        return Reply("1", delay=0.2) if request.number == 50 else Reply("1" if request.number <= 50 else "2")

    with Stub(script) as stub:
        result = run_load(load(stub, order=("1", "2"), requests=400)).result
    assert result["clean"]
    assert result["switches"][0]["last_old_s"] > result["switches"][0]["at_s"] + 0.02


def test_two_switches_back_to_the_same_version_by_epochs() -> None:
    """Without an order the epochs tell a version's second turn from stale answers of its first."""

    def script(request: Request) -> Reply:
        epoch = request.number // 100
        return Reply(version="2" if epoch == 1 else "1", epoch=epoch)

    with Stub(script) as stub:
        result = run_load(load(stub, requests=300)).result
    assert result["clean"]
    assert [(s["from"], s["to"]) for s in result["switches"]] == [("1", "2"), ("2", "1")]


@unless_held_up(0.1)
def test_latency_counts_from_the_due_time() -> None:
    """A server that stalls 300 ms delays everything due meanwhile, and the open loop says so."""

    def delayed() -> int:
        with Stub(lambda r: Reply(delay=0.3 if r.number == 20 else 0.0)) as stub:
            spec = load(stub, mode="open", rate=200.0, connections=1, requests=100)
            run = run_load(spec)
        taken = run.records.column("received") - run.records.column("due")
        assert (taken[21:61] > 0.05).all()  # 300 ms at 200/s: the next 60 wait for it, the last of them not for long
        assert run.result["send_delay_ms"]["max"] > 200
        assert run.result["ok"] == 100
        return int((taken > 0.05).sum())

    assert 40 <= best(delayed, 80) <= 80  # 300 ms at 200/s, and what it takes to catch up


def test_open_loop_holds_its_rate() -> None:
    """Constant arrivals are due at even gaps, for the duration and no longer."""
    with Stub() as stub:
        run = run_load(load(stub, mode="open", rate=400.0, requests=0, duration_s=0.5, connections=16))
    assert run.result["requests"] == 200
    gaps = np.diff(np.sort(run.records.column("due")))
    np.testing.assert_allclose(gaps, 1 / 400, atol=1e-9)


def test_poisson_arrivals_are_uneven_with_the_right_mean() -> None:
    """Exponential gaps have a standard deviation near their mean."""
    with Stub() as stub:
        run = run_load(load(stub, mode="open", rate=2000.0, arrivals="poisson", requests=1000, connections=64))
    gaps = np.diff(np.sort(run.records.column("due")))
    assert gaps.mean() == pytest.approx(1 / 2000, rel=0.15)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.2)


def test_fresh_connections() -> None:
    """The asked fraction of requests opens a connection of its own, says so to the server, and closes it."""
    with Stub() as stub:
        run = run_load(load(stub, fresh=0.5))
    closing = sum(request.fields.get("connection") == "close" for request in stub.requests)
    assert run.result["clean"]
    assert 60 <= closing <= 140
    assert int(run.records.column("fresh").sum()) == closing
    assert stub.connections >= closing


def test_server_may_close_after_an_answer() -> None:
    """`connection: close` is obeyed: the next request goes over a new connection and nothing fails."""
    with Stub(lambda r: Reply(last=r.number % 10 == 0)) as stub:
        result = run_load(load(stub)).result
    assert result["clean"]
    assert stub.connections >= 20


@pytest.mark.parametrize("action", ["reset", "close"])
def test_cut_connections_are_retried_when_asked(action: Any) -> None:
    """A request whose connection is cut is sent again on a new one; the break is told apart, with its port."""
    with Stub(lambda r: Reply(action=action if r.number in (50, 70) else "answer")) as stub:
        run = run_load(load(stub, retries=1))
    assert (run.result["ok"], run.result["failed"], run.result["retried"]) == (200, 0, 2)
    assert run.result["clean"]
    assert stub.connections >= 6
    assert [(cut.busy, cut.retried, cut.port > 0) for cut in run.records.breaks] == [(True, True, True)] * 2


def test_retries_are_bounded() -> None:
    """A request that breaks every connection fails after the last retry."""
    with Stub(lambda r: Reply(action="reset")) as stub:
        result = run_load(load(stub, retries=2, requests=1)).result
    assert (result["failed"], result["retried"], len(stub.requests)) == (1, 2, 3)
    assert not result["clean"]


def test_nonsense_is_not_retried() -> None:
    """Only a cut connection is retried; what answers wrongly has failed."""
    with Stub(lambda r: Reply(action="garbage" if r.number == 5 else "answer")) as stub:
        result = run_load(load(stub, retries=3)).result
    assert (result["failed"], result["retried"]) == (1, 0)


def test_rows_can_be_folded() -> None:
    """A run that keeps no rows counts the same: failures, stale answers, versions, latencies."""

    def script(request: Request) -> Reply:
        if request.number == 20:
            return Reply(status=500)
        return Reply(version="1" if request.number < 100 or request.number == 150 else "2")

    with Stub(script) as stub:
        run = run_load(load(stub, keep_rows=False, order=("1", "2"), mode="open", rate=150.0))
    result = run.result
    assert (result["requests"], result["ok"], result["failed"], result["stale"]) == (200, 199, 1, 1)
    assert result["failures"] == {"500": 1}
    assert {name: seen["answers"] for name, seen in result["versions"].items()} == {"1": 100, "2": 99}
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"] <= result["latency_ms"]["max"]
    assert len(run.records) == 0


@unless_held_up(0.5)
def test_silence_is_a_failure_after_the_timeout() -> None:
    """A request without an answer fails as `timeout` and the others go on."""
    with Stub(lambda r: Reply(action="silent" if r.number == 5 else "answer")) as stub:
        started = time.monotonic()
        result = run_load(load(stub, timeout_s=1.5)).result
    assert time.monotonic() - started < 5
    assert result["failures"] == {"timeout": 1}
    assert result["requests"] == 200


def test_nobody_listens() -> None:
    """Without a server every request fails as refused, and a closed loop does not spin."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        spec = LoadSpec("m", {"x": INPUTS}, port=unused.getsockname()[1], mode="closed", connections=2, duration_s=0.3)
        result = run_load(spec).result
    assert set(result["failures"]) == {"connection refused"}
    assert 2 <= result["failed"] <= 60
    assert not result["clean"]


def test_requests_nobody_had_room_for_are_failures() -> None:
    """In an open loop, due requests that never found a connection count as failed."""
    with Stub(lambda r: Reply(action="silent")) as stub:
        result = run_load(load(stub, mode="open", rate=100.0, requests=20, connections=1, timeout_s=0.3)).result
    assert result["failed"] == 20
    assert result["failures"]["never sent"] >= 10


@unless_held_up(0.2)
def test_a_backlog_comes_to_an_end() -> None:
    """Who waited for a connection has the whole time for its answer from then on; who waited so long is given up."""
    with Stub(lambda r: Reply(delay=1.0)) as stub:
        result = run_load(load(stub, mode="open", rate=100.0, requests=3, connections=1, timeout_s=1.5)).result
    assert (result["ok"], result["failures"]) == (2, {"never sent": 1})


def test_large_bodies_are_sent_in_parts() -> None:
    """A body larger than the socket's buffer arrives whole, and so does its answer."""
    inputs = np.random.default_rng(1).random((2, 1_500_000), dtype=np.float32)
    with Stub() as stub:
        result = run_load(load(stub, inputs={"x": inputs}, expected={"1": inputs[:, :4]}, requests=6)).result
    assert result["clean"]
    np.testing.assert_array_equal(stub.requests[0].values, inputs[:1])


@unless_held_up(0.5)
def test_stop_ends_the_sending_and_waits_for_answers() -> None:
    """A set stop event ends the run early; requests in flight are still answered and counted."""
    stop = threading.Event()

    def script(request: Request) -> Reply:
        if request.number == 20:
            stop.set()
        return Reply(delay=0.05)

    with Stub(script) as stub:
        started = time.monotonic()
        result = run_load(load(stub, requests=0, duration_s=30.0), stop).result
    assert time.monotonic() - started < 3
    assert result["clean"]
    assert 20 <= result["requests"] == len(stub.requests)


@unless_held_up(0.1)
def test_progress_every_second() -> None:
    """Each second one document tells rate, percentiles and versions of that second."""

    def off() -> float:
        seen: list[dict[str, Any]] = []
        with Stub() as stub:
            run_load(load(stub, mode="open", rate=200.0, requests=0, duration_s=2.3), on_progress=seen.append)
        assert [round(document["elapsed_s"]) for document in seen] == [1, 2]
        assert sum(document["per_second"] for document in seen) == seen[-1]["requests"]
        assert seen[1]["versions"]["1"] == seen[1]["per_second"]
        assert seen[1]["p50_ms"] < seen[1]["p99_ms"]
        return float(abs(seen[1]["per_second"] - 200))

    assert best(off, 40) <= 40


def test_complex_numbers_cannot_be_sent() -> None:
    """An input type without an OIP datatype is refused before anything is sent."""
    with pytest.raises(InvalidRequest, match="cannot be sent"):
        run_load(LoadSpec("m", {"x": np.zeros((1, 2), np.complex64)}))
