"""Several gateways on one socket: they come and go under load, and only what a dead one held breaks."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.end_to_end.crowd import FACTORS, Crowd, gateways, held_by, in_service
from tests.traffic import Traffic

ENDLESS = onnx_models.endless().SerializeToString()
SCALE = onnx_models.scale(FACTORS["1"]).SerializeToString()


def clean(traffic: Traffic) -> None:
    """Nothing failed, nobody was refused, all values were right."""
    report = traffic.report
    assert (report.failed, report.refused, report.wrong) == ([], 0, 0)


def crowd_shares(server: Server, processes: list[psutil.Process], size: int) -> list[int]:
    """How many of a crowd that connects at once each gateway takes, fewest first; all of it is answered."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port))) for _ in range(size)]
        ports = {client.getsockname()[1] for client in clients}
        wait_for(lambda: sum(len(held_by(p) & ports) for p in processes) == size, "all to be accepted")
        shares = sorted(len(held_by(p) & ports) for p in processes)
        for client in clients:
            client.settimeout(30)
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n")
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        return shares


@pytest.mark.parametrize("count", [2, 3])
def test_gateways_share_the_connections(serve: Serve, count: int) -> None:
    """A crowd that connects at once is spread over all of them, and each serves what it took.

    A gateway that gets no processor takes none, so on a busy machine some crowds are uneven.
    """
    server = serve(gateways=count)
    server.deploy("m", SCALE)
    processes = in_service(server, count)
    tries = [crowd_shares(server, processes, 60) for _ in range(3)]
    while max(shares[0] for shares in tries) < 60 // count // 3 and len(tries) < 20:
        tries.append(crowd_shares(server, processes, 60))
    assert max(shares[0] for shares in tries) >= 60 // count // 3, tries


@pytest.mark.slow
def test_changeovers_with_two_gateways(serve: Serve) -> None:
    """Ten under load: 0 failed, 0 wrong, 0 stale, and every certificate has both acknowledgements and all requests."""
    server = serve(gateways=2, drain_deadline=10.0)
    server.plan("m", "rollout: {strategy: instant, undo_window: 0}")
    server.deploy("m", SCALE, 1)
    in_service(server, 2)
    with Traffic(server.http_port, "m", FACTORS, rate=200, fresh=0.5) as traffic:
        for version in range(2, 12):
            model = onnx_models.scale(FACTORS[str(version)]).SerializeToString()
            assert server.deploy("m", model, version)["phase"] in ("watching", "succeeded")
            traffic.wait_for_version(str(version))
    clean(traffic)
    assert [traffic.report.stale(str(v - 1), str(v)) for v in range(2, 12)] == [0] * 10
    assert len({a.epoch for a in traffic.report.answers}) >= 10


@pytest.mark.slow
def test_a_certificate_sums_over_the_gateways(serve: Serve) -> None:
    """The requests that a certificate counts are those that the clients sent, whichever gateway took them."""
    server = serve(gateways=2)
    server.plan("m", "rollout: {strategy: instant, undo_window: 0}")
    server.deploy("m", SCALE, 1)
    in_service(server, 2)
    with Traffic(server.http_port, "m", FACTORS, rate=150, fresh=1.0) as traffic:
        rollout = server.deploy("m", onnx_models.scale(FACTORS["2"]).SerializeToString(), 2)["id"]
        traffic.wait_for_answers(150 * 7)

        def certificate() -> dict[str, Any] | None:
            with contextlib.suppress(AssertionError):
                return dict(server.control("GET", f"/v1/rollouts/{rollout}/certificate"))
            return None

        told = wait_for(certificate, "the certificate")
    clean(traffic)
    assert (told["switch"]["gateways"], told["switch"]["stale_picks"]) == (2, 0)
    after = told["latency"]["after"]
    first = min(a.received for a in traffic.report.answers if a.version == "2")
    seen = sum(first <= a.received < first + after["window_s"] for a in traffic.report.answers)
    assert after["requests"] == pytest.approx(seen, rel=0.35), after


@pytest.mark.slow
def test_only_the_connections_of_a_killed_gateway_break(serve: Serve) -> None:
    """Ten times SIGKILL under load: nobody is refused, and whatever broke was held by the victim."""
    server = serve(gateways=2)
    server.deploy("m", SCALE)
    generator = random.Random(3)
    with Crowd(server.http_port, clients=12) as crowd:
        for _ in range(10):
            victim = generator.choice(in_service(server, 2))
            before = len(crowd.broken)
            victim.suspend()  # so that what it holds does not change any more
            held = held_by(victim)
            victim.kill()
            wait_for(lambda gone=victim: not gone.is_running(), "its end")  # type: ignore[misc]
            crowd.wait_for_answers(60)
            assert set(crowd.broken[before:]) <= held
    assert (crowd.refused, crowd.wrong) == ([], [])


def when(server: Server, moment: str) -> None:
    """Wait until the server's log tells of a moment."""
    size = server.log.stat().st_size
    wait_for(lambda: moment in server.log.read_text(errors="replace")[size:], moment)


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """A process that does not run, until it is killed or this ends."""
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.slow
def test_a_gateway_that_falls_silent_before_a_commit(serve: Serve) -> None:
    """Frozen when it is asked to prepare: it is killed after half a second, and the changeover goes on."""
    server = serve(gateways=2)
    server.deploy("m", SCALE, 1)
    with Crowd(server.http_port, clients=6) as crowd:
        victim = in_service(server, 2)[0]
        with frozen(victim):
            held = held_by(victim)
            rollout = server.deploy("m", onnx_models.scale(FACTORS["2"]).SerializeToString(), 2)
            assert rollout["phase"] == "watching"
            assert not victim.is_running()
        in_service(server, 2)
        crowd.wait_for_answers(60)
    assert (crowd.refused, crowd.wrong) == ([], [])
    assert set(crowd.broken) <= held


KILLS: dict[str, Callable[[Server], None]] = {
    "while it loads": lambda server: when(server, "validating"),
    "while it switches": lambda server: when(server, "promoting"),
    "while the old one drains": lambda server: when(server, "watching"),
    "a little later": lambda server: time.sleep(0.05),
}


@pytest.mark.slow
def test_a_gateway_killed_at_each_moment_of_a_changeover(serve: Serve) -> None:
    """Every one of them ends with the new version in force, and the old worker is released."""
    server = serve(gateways=2)
    server.plan("m", "rollout: {strategy: instant, undo_window: 0}")
    server.deploy("m", SCALE, 1)
    version = 1
    with Crowd(server.http_port, clients=8) as crowd:
        for moment in KILLS.values():
            version += 1
            victim = in_service(server, 2)[0]
            moves = threading.Thread(target=lambda m=moment, v=victim: (m(server), v.kill()))  # type: ignore[misc]
            moves.start()
            pushed = server.push("m", onnx_models.scale(FACTORS[str(version)]).SerializeToString(), version)
            assert server.settled(pushed["rollout"])["phase"] in ("watching", "succeeded")
            moves.join(30)
            wait_for(lambda: server.model("m")["rollout"]["phase"] == "succeeded", "the release")
            assert server.model("m")["active"] == str(version)
            crowd.wait_for_answers(40)
    assert (crowd.refused, crowd.wrong) == ([], [])


@pytest.mark.slow
def test_a_gateway_killed_while_it_holds_up_a_drain(serve: Serve) -> None:
    """Its lease on the old version ends with it; the other gateway's long request is answered all the same."""
    server = serve(gateways=2, drain_deadline=60.0)
    server.plan(
        "m",
        "{rollout: {strategy: instant, undo_window: 0}, runtime: {max_batch: 1, run_timeout: 100s},"
        " gates: {accuracy: {enabled: false}, performance: {enabled: false}}}",
    )
    began = time.monotonic()
    server.deploy("m", ENDLESS, 1)
    rounds, version = max(150_000, int(300_000 * (time.monotonic() - began))), 1  # longer than a deploy takes here
    processes = in_service(server, 2)
    while not killed_while_draining(server, processes, version, rounds):
        rounds, version = 2 * rounds, version + 1  # a machine that became busy took longer for the new version
    assert len(in_service(server, 2)) == 2


def killed_while_draining(server: Server, processes: list[psutil.Process], version: int, rounds: int) -> bool:
    """Each gateway waits for a long answer when the next version takes over; then the first dies, if it still waits."""
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [rounds, 0, 0, 0]}]})
    with contextlib.ExitStack() as stack:
        asked: dict[int, socket.socket] = {}
        while len(asked) < 2:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port), 60))
            port = client.getsockname()[1]
            owner = wait_for(lambda: [p.pid for p in processes if port in held_by(p)], "its owner")[0]  # noqa: B023
            asked.setdefault(owner, client)
        for client in asked.values():
            head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: t\r\nchangeover-timeout: 100s\r\n"
            head += f"content-length: {len(body)}\r\n\r\n"
            client.sendall((head + body).encode())
        pushed = server.push("m", ENDLESS, version + 1)
        assert server.settled(pushed["rollout"])["phase"] in ("watching", "succeeded")
        victim, other = processes
        if select.select([asked[victim.pid]], [], [], 0)[0]:
            return False
        victim.kill()
        answer = http.client.HTTPResponse(asked[other.pid], method="POST")
        answer.begin()
        assert (answer.status, json.loads(answer.read())["model_version"]) == (200, str(version))
        wait_for(lambda: server.model("m")["rollout"]["phase"] == "succeeded", "the release")
        asked[victim.pid].settimeout(10)
        with contextlib.suppress(OSError):
            assert asked[victim.pid].recv(1) == b""
    return True


def taken_by_a_successor(server: Server, old: set[int]) -> bool:
    """Connect once, be answered, and see whether a gateway that is not among the old ones did it."""
    with socket.create_connection(("127.0.0.1", server.http_port), 30) as client:
        client.sendall(b"GET /v2/models/m/ready HTTP/1.1\r\nhost: t\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        port = client.getsockname()[1]
        return any(port in held_by(p) for p in gateways(server) if p.pid not in old)


@pytest.mark.slow
def test_a_gateway_joins_while_no_controller_lives(serve: Serve) -> None:
    """Page and store are all it needs; the next controller knows it, and changes over with it."""
    server = serve(gateways=2)
    server.deploy("m", SCALE, 1)
    in_service(server, 2)
    with Crowd(server.http_port, clients=8) as crowd:
        controller = server.named("controller")
        with frozen(controller):  # the supervisor would replace a dead one at once
            for victim in gateways(server):  # both, one after the other
                before = {p.pid for p in gateways(server)}
                victim.kill()
                wait_for(lambda gone=victim: not gone.is_running(), "its end")  # type: ignore[misc]
                wait_for(lambda old=before: taken_by_a_successor(server, old), "its successor to serve")  # type: ignore[misc]
            controller.kill()
        in_service(server, 2)
        assert server.deploy("m", onnx_models.scale(FACTORS["2"]).SerializeToString(), 2)["phase"] == "watching"
        crowd.wait_for_answers(60)
    assert (crowd.refused, crowd.wrong) == ([], [])


def test_sigterm_with_two_gateways_loses_nothing(serve: Serve) -> None:
    """Kept and fresh connections at an open loop, over both: every request that was sent is answered."""
    server = serve(gateways=2, lame_duck=1.0, drain_deadline=10.0)
    server.deploy("m", SCALE)
    in_service(server, 2)
    with Traffic(server.http_port, "m", FACTORS, rate=200, fresh=0.5) as traffic:
        traffic.wait_for_answers(150)
        code = server.stop(patience=30)
    assert (code, traffic.report.failed, traffic.report.wrong) == (0, [], 0)
    assert traffic.report.refused > 0, "after the end nobody listens"


def test_a_gateway_killed_during_the_stop_takes_no_other_along(serve: Serve) -> None:
    """The other answers what it holds; the exit code tells of the dead one."""
    server = serve(gateways=2, lame_duck=1.0, drain_deadline=20.0)
    server.deploy("m", SCALE)
    processes = in_service(server, 2)
    with Crowd(server.http_port, clients=8) as crowd:
        server.signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.tail(), "the signal to be heard")
        victim = processes[0]
        victim.suspend()
        held = held_by(victim)
        victim.kill()
        assert server.wait(30) == 1
    assert set(crowd.broken) <= held
    assert crowd.wrong == []
