"""`kill -9` for each process at any moment: clients notice nothing, or no more than the connections it held."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

import psutil
import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

ROUNDS = 5
LATEST = 0.25
"""A changeover of a small model takes about 0.1 s, so kills up to here hit all its phases and the time after."""


def factor(version: int) -> float:
    """Each version's own."""
    return float(version + 1)


FACTORS = {str(v): factor(v) for v in range(1, 40)}


def kill(server: Server, title: str) -> bool:
    """SIGKILL for the process with this title, if there is one now."""
    victim = server.find(title)
    if victim is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    return True


def changeovers_with_kills(server: Server, traffic: Traffic, victim: Callable[[str, str], str], seed: int) -> int:
    """Push version after version, and kill at a random moment of each changeover; returns the kills."""
    generator, kills = random.Random(seed), 0
    for _ in range(ROUNDS):
        active = server.model("m")["active"]
        version = int(active) + 1
        while str(version) in {v["version"] for v in server.model("m")["versions"]}:
            version += 1
        pushed = server.push("m", onnx_models.scale(factor(version)).SerializeToString(), version)
        title = victim(active, str(version))
        wait_for(lambda t=title: server.find(t) or controlled(server), "the victim, or the end")  # type: ignore[misc]
        time.sleep(generator.uniform(0, LATEST))  # the moment of the kill is random on purpose
        kills += kill(server, title)
        server.settled(pushed["rollout"])
        wait_for(lambda: controlled(server), "the control plane to be back")
        traffic.wait_for_answers(10)
    return kills


def controlled(server: Server) -> bool:
    """Whether the controller answers and no rollout is under way."""
    try:
        rollout = server.model("m")["rollout"]
    except (OSError, AssertionError):
        return False
    return rollout["phase"] in ("watching", "succeeded", "failed", "rolled_back")


VICTIMS: dict[str, Callable[[str, str], str]] = {
    "active worker": lambda old, new: f"worker m/{old}",
    "candidate": lambda old, new: f"worker m/{new}",
    "controller": lambda old, new: "controller",
    "zygote": lambda old, new: "zygote",
}


@pytest.mark.slow
@pytest.mark.parametrize("who", VICTIMS)
def test_no_request_notices_a_kill(serve: Serve, who: str) -> None:
    """Loading, switching, draining: 0 failed and 0 wrong answers, and a version serves that traffic reaches."""
    server = serve()
    server.deploy("m", onnx_models.scale(factor(1)).SerializeToString(), 1)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        kills = changeovers_with_kills(server, traffic, VICTIMS[who], seed=len(who))
        last = server.model("m")["active"]
        traffic.wait_for_version(last)
    assert kills > 0
    assert (traffic.report.failed, traffic.report.refused, traffic.report.wrong) == ([], 0, 0)


@pytest.mark.slow
def test_a_killed_gateway_costs_only_its_connections(serve: Serve) -> None:
    """What was on its connections is lost, new connections wait for its replacement, and answers stay right."""
    server = serve()
    server.deploy("m", onnx_models.scale(factor(1)).SerializeToString(), 1)
    lost = 0
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        for version, delay in ((2, 0.0), (3, 0.03), (4, 0.08), (5, 0.2)):
            pushed = server.push("m", onnx_models.scale(factor(version)).SerializeToString(), version)
            time.sleep(delay)  # a moment of loading, switching or after
            victim = server.named("gateway")
            held, opened, failed = traffic.connections, traffic.opened, len(traffic.report.failed)
            victim.kill()
            wait_for(lambda gone=victim: not gone.is_running(), "its end")  # type: ignore[misc]
            traffic.wait_for_answers(1)
            held += traffic.opened - opened  # those that came in between
            assert server.settled(pushed["rollout"])["phase"] in ("watching", "succeeded")
            traffic.wait_for_version(str(version))
            traffic.wait_for_answers(30)
            now_lost = len(traffic.report.failed) - failed
            assert now_lost <= held, (now_lost, held)
            lost += now_lost
        traffic.wait_for_answers(60)
        late = len(traffic.report.failed) - failed  # an idle client finds out at its next request
        assert late <= held, "nothing but what it held is lost once the replacement serves"
    assert (traffic.report.refused, traffic.report.wrong) == (0, 0)


def test_a_worker_killed_with_batches_in_hand_loses_none(serve: Serve) -> None:
    """A model that takes 20 ms a run, killed five times in the middle of runs: every request is answered."""
    server = serve()
    server.deploy("m", onnx_models.slow(10, factor=2.0).SerializeToString())
    with Traffic(server.http_port, "m", {"1": 2.0}, rate=60) as traffic:
        for _ in range(4):
            worker = server.named("worker m/1")
            worker.kill()
            wait_for(lambda gone=worker: not gone.is_running(), "the killed worker to be reaped")  # type: ignore[misc]
            traffic.wait_for_answers(30)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_worker_and_zygote_killed_together(serve: Serve) -> None:
    """The worker's replacement waits for the new zygote; no request is lost, and the supervisor lives."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        for first, second in (("zygote", "worker m/1"), ("worker m/1", "zygote")):
            victims = server.named(first), server.named(second)
            for victim in victims:
                victim.kill()
            traffic.wait_for_answers(60)
            server.named("zygote")
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_all_but_the_supervisor_killed_at_once(serve: Serve) -> None:
    """Everything comes back and the chosen version serves, without a restart of the server."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    server.deploy("m", onnx_models.scale(3).SerializeToString())
    for process in server.processes()[1:]:
        process.kill()
    server.wait_ready()
    ask = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    assert wait_for(lambda: server.infer("m", ask).status == 200, "an answer")
    assert server.infer("m", ask).json()["outputs"][0]["data"] == [3.0] * 4
    wait_for(lambda: controlled(server), "the control plane")
    assert server.deploy("m", onnx_models.scale(5).SerializeToString())["phase"] == "watching"


def test_a_poisonous_request_takes_no_other_along(serve: Serve) -> None:
    """One request outlives two workers' deaths and is refused; those waiting behind it are answered."""
    server = serve(max_queue_delay=3600)  # who waits behind it waits long
    server.plan("m", "runtime: {run_timeout: 1.5, max_batch: 1}")
    server.deploy("m", onnx_models.endless().SerializeToString())
    poison = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1e7, 0, 0, 0]}]}
    with Traffic(server.http_port, "m", {"1": 1.0}, rate=40) as traffic:
        reply = server.infer("m", poison)
        traffic.wait_for_answers(20)
    assert (reply.status, reply.json()["reason"]) == (500, "worker_crashed")
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_a_stopped_worker_is_found_out_and_replaced(serve: Serve) -> None:
    """A worker that hangs (SIGSTOP) past `run_timeout` is killed, and its requests run on the next one."""
    server = serve()
    server.plan("m", "runtime: {run_timeout: 0.5}")
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    worker = server.named("worker m/1")
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        worker.suspend()
        wait_for(lambda: not worker.is_running(), "the hanging worker to be killed")
        traffic.wait_for_answers(50)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
    assert traffic.report.longest_gap() < 10


def test_traffic_goes_on_without_a_controller(serve: Serve) -> None:
    """A controller that hangs and then dies: data plane and worker replacement need none."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    controller = server.named("controller")
    controller.suspend()
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        server.named("worker m/1").kill()
        traffic.wait_for_answers(60)
        controller.kill()
        traffic.wait_for_answers(30)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
    server.wait_ready()
    assert server.deploy("m", onnx_models.scale(3).SerializeToString())["phase"] == "watching"
