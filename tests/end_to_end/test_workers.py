"""Workers that crash, hang, are stopped or take too much, at every moment of their life, in a real server."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from changeover.testing import Server, cpu_seconds, wait_for
from tests import harmful_models, onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

DEADLY = (signal.SIGSTOP, signal.SIGKILL, signal.SIGSEGV)
Document = dict[str, Any]


def rows(*values: float) -> Document:
    """A request of one row."""
    return {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}]}


def hurt(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended by itself meanwhile."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def shown(server: Server, version: str = "1") -> Document:
    """A version's worker as the control API shows it."""
    found = next(v for v in server.model("m")["versions"] if v["version"] == version)
    worker: Document = found["worker"] or {}
    return worker


def replaced(server: Server, worker: psutil.Process) -> psutil.Process:
    """Wait for the successor of a worker."""
    wait_for(lambda: not worker.is_running(), "the worker's end")
    return server.named("worker m/1")


@pytest.mark.parametrize("what", ["load", "first runs"])
def test_a_candidate_that_is_hurt_on_its_way(serve: Serve, what: str) -> None:
    """The version is refused, the record says how its worker ended, and the old one serves on."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    server.plan("m", "runtime: {max_batch: 2}\ngates: {performance: {enabled: false}}")
    slow = (onnx_models.weighty(96) if what == "load" else onnx_models.slow(120)).SerializeToString()
    for version, number in enumerate(DEADLY, 2):
        pushed = server.push("m", slow, version)
        hurt(server.named(f"worker m/{version}"), number)
        rollout = server.settled(pushed["rollout"])
        stopped = number is signal.SIGSTOP
        assert rollout["reason"] == ("worker_stopped" if stopped else "worker_crashed"), rollout
        died = "SIGKILL" if stopped else number.name
        assert f"died by {died} while it was validating" in rollout["detail"]
    assert server.infer("m", rows(1, 1, 1, 1)).json()["outputs"][0]["data"] == [2.0] * 4


def test_an_idle_worker_that_is_hurt(serve: Serve) -> None:
    """It is replaced before any request comes, and the API tells what became of the last one."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    for number, cause in zip(DEADLY, ("stopped", "killed", "crashed"), strict=True):
        worker = server.named("worker m/1")
        hurt(worker, number)
        assert replaced(server, worker).pid != worker.pid
        code = -number if number is not signal.SIGSTOP else -signal.SIGKILL
        told = {"cause": cause, "code": code}
        wait_for(lambda want=told: shown(server).get("last_death") == want, "the last death")  # type: ignore[misc]
        assert server.infer("m", rows(1, 1, 1, 1)).status == 200


def test_a_worker_that_is_hurt_in_the_middle_of_a_batch(serve: Serve) -> None:
    """What it had in hand runs again on the next one: every request is answered inside its time."""
    server = serve()
    server.plan("m", "runtime: {instances: 2}")
    server.deploy("m", onnx_models.slow(10, factor=2.0).SerializeToString())
    with Traffic(server.http_port, "m", {"1": 2.0}, rate=40) as traffic:
        for number in DEADLY:
            worker = server.named("worker m/1")
            hurt(worker, number)
            replaced(server, worker)
            traffic.wait_for_answers(20)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_a_worker_that_is_hurt_while_it_drains(serve: Serve) -> None:
    """A request still runs on the old version when it is hurt: it is answered by it, and then the version goes."""
    server = serve()
    gates = "gates: {accuracy: {enabled: false}, performance: {enabled: false}}"  # the new version is in a hurry
    server.plan("m", f"rollout: {{strategy: instant, undo_window: 0s}}\n{gates}")
    model = onnx_models.endless().SerializeToString()
    began = time.monotonic()
    server.deploy("m", model, 1)
    rounds = max(150_000, int(300_000 * (time.monotonic() - began)))  # several times as long as a deploy takes here
    left, old = list(DEADLY), 0
    with ThreadPoolExecutor(1) as other:
        while left:
            old += 1
            worker = server.named(f"worker m/{old}")
            before = cpu_seconds(worker)
            long = other.submit(server.infer, "m", rows(rounds, 0, 0, 0))
            wait_for(lambda w=worker, b=before: cpu_seconds(w) > b + 0.05, "the long run")  # type: ignore[misc]
            server.deploy("m", model, old + 1)
            if long.done():
                rounds *= 2  # a machine that became busy meanwhile took longer for the new version: once more
            else:
                hurt(worker, left.pop(0))
            reply = long.result()
            assert (reply.status, reply.json()["model_version"]) == (200, str(old))
            wait_for(lambda gone=f"worker m/{old}": server.find(gone) is None, "the old version's end")  # type: ignore[misc]


def test_ten_kills_under_load_cost_no_request(serve: Serve) -> None:
    """Whenever the next worker serves, it is killed: no failed answer, no wrong one, and no circuit that opens."""
    server = serve()
    server.deploy("m", onnx_models.slow(2, factor=2.0).SerializeToString())
    with Traffic(server.http_port, "m", {"1": 2.0}, rate=60) as traffic:
        for _ in range(10):
            worker = server.named("worker m/1")
            traffic.wait_for_answers(5)
            worker.kill()
            wait_for(lambda gone=worker: not gone.is_running(), "the killed worker to be reaped")  # type: ignore[misc]
        traffic.wait_for_answers(20)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
    assert traffic.report.longest_gap() < 10
    assert (server.model("m")["state"], shown(server)["circuit"]) == ("ready", "closed")


def crash(server: Server, times: int) -> None:
    """Each worker dies of a crash of its own, so it seems, as soon as it is ready."""
    before = -1
    for _ in range(times):
        worker = wait_for(lambda last=before: _other(server, last), "the next worker")  # type: ignore[misc]
        before = worker.pid
        wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "it to be ready")
        os.kill(worker.pid, signal.SIGSEGV)
        wait_for(lambda gone=worker: not gone.is_running(), "its end")  # type: ignore[misc]


def _other(server: Server, pid: int) -> psutil.Process | None:
    found = server.find("worker m/1")
    return found if found is not None and found.pid != pid else None


@pytest.mark.slow
def test_a_crash_loop_opens_a_circuit_that_a_sound_worker_closes(serve: Serve) -> None:
    """At the fifth quick death 503 at once instead of waiting; API and log say so; the next try brings it back."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    crash(server, 5)
    wait_for(lambda: server.model("m")["state"] == "crash_loop", "the open circuit")
    reply = wait_for(lambda: _refused(server), "a refusal")
    assert reply.json()["reason"] == "worker_crash_loop"
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert server.get("/v2/models/m/ready").status == 503
    told = shown(server)
    assert (told["circuit"], told["deaths"]) == ("open", 5)
    assert told["last_death"] == {"cause": "crashed", "code": -signal.SIGSEGV}
    assert 0 <= told["next_try"] <= 10
    assert "the circuit is open, requests are refused, the next try is in 10 s" in server.log.read_text()
    server.named("gateway").kill()  # the next ones know it too
    server.named("controller").kill()
    assert wait_for(lambda: _refused(server), "a refusal").json()["reason"] == "worker_crash_loop"
    wait_for(lambda: _state_of_next(server) == "crash_loop", "the next controller to tell it")
    wait_for(lambda: server.infer("m", rows(1, 1, 1, 1)).status == 200, "the next try")
    wait_for(lambda: shown(server)["circuit"] == "closed", "the circuit to close")
    assert server.model("m")["state"] == "ready"


def _refused(server: Server) -> Any:
    try:
        reply = server.infer("m", rows(1, 1, 1, 1), changeover_timeout="100ms")
    except OSError:
        return None  # the gateway is being replaced
    return reply if reply.status == 503 else None


def _state_of_next(server: Server) -> str | None:
    try:
        return str(server.model("m")["state"])
    except (OSError, AssertionError):
        return None


def test_a_worker_that_takes_too_much(serve: Serve) -> None:
    """One run far over the limit fails alone; what the runtime's arena keeps of others gets the worker replaced."""
    server = serve()
    server.plan("m", "runtime: {memory_limit: 256MiB}")
    server.deploy("m", harmful_models.hoard().SerializeToString())
    worker = server.named("worker m/1")

    def ask(mebibytes: int) -> Any:
        tensor = {"name": "n", "shape": [], "datatype": "INT64", "data": [mebibytes << 18]}
        return server.infer("m", {"inputs": [tensor]})

    reply = ask(4096)
    assert (reply.status, reply.json()["reason"]) == (500, "out_of_memory")
    assert ask(64).status == 200
    assert server.named("worker m/1").pid == worker.pid
    assert ask(300).status == 200
    replaced(server, worker)
    assert ask(64).status == 200
    told = wait_for(lambda: shown(server).get("last_death"), "the last death")
    assert told == {"cause": "memory_limit", "code": -signal.SIGKILL}
    assert "over its limit of 256 MiB (runtime.memory_limit): killed" in server.log.read_text()
