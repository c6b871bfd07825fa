"""The zygote inside a real server: one thread, quick workers, and workers that outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil
import pytest

from changeover import zygote
from changeover.runtime import quiet
from changeover.runtime.quiet import Quiet
from changeover.testing import Server, wait_for
from changeover.transport.link import Link, pair
from tests import onnx_models
from tests.best import best
from tests.conftest import Serve

SCALE = onnx_models.scale(2).SerializeToString()
STARVED = 80.0
"""Seconds that a spare may need on a busy machine: it is forked at idle priority, and gets what nobody else wants."""


def test_the_zygote_has_one_thread(serve: Serve) -> None:
    """More would make its forks unsafe; it opens no socket either."""
    server = serve()
    server.deploy("m", SCALE)
    only = server.named("zygote")
    assert only.num_threads() == 1
    assert only.net_connections() == []


def test_workers_outlive_their_zygote(serve: Serve) -> None:
    """They are the supervisor's children by adoption, and the next zygote makes the next ones."""
    server = serve()
    server.deploy("m", SCALE)
    first, worker = server.named("zygote"), server.named("worker m/1")
    first.kill()
    wait_for(lambda: not first.is_running(), "the zygote's end")
    assert worker.is_running()
    assert worker.ppid() == server.pid
    server.deploy("m", onnx_models.scale(3).SerializeToString())
    assert server.named("worker m/2").ppid() == server.pid


def test_a_killed_worker_is_back_soon(serve: Serve) -> None:
    """From SIGKILL to the first answer of its replacement: bounded generously here, measured by the bench."""
    server = serve()
    server.deploy("m", SCALE)
    ask = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}

    def back() -> float:
        worker = server.named("worker m/1")
        worker.kill()
        started = time.monotonic()
        wait_for(lambda: not worker.is_running(), "its end")
        assert server.infer("m", ask).status == 200
        return time.monotonic() - started

    assert best(back, 3.0) < 3.0


def test_a_worker_takes_little_memory_of_its_own(serve: Serve) -> None:
    """Most of it is shared with the zygote."""
    server = serve()
    server.deploy("m", SCALE)
    worker: psutil.Process = server.named("worker m/1")
    info = worker.memory_full_info()
    assert info.uss < info.rss / 2


def spares(server: Server) -> list[int]:
    """Pids of those that stand by."""
    found = []
    for process in server.processes():
        try:
            if "".join(process.cmdline()).strip() == "changeover: spare":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def known(server: Server) -> list[int] | None:
    """Pids of both, once the zygote knows them too: whoever forked them has ended, and was waited for."""
    found = spares(server)
    return found if len(found) == 2 and not server.named("zygote").children() else None


def test_what_stands_by_becomes_prover_and_worker(serve: Serve) -> None:
    """Forked in a calm moment, low until then; the worker that serves is as normal as any."""
    server = serve()
    waiting = wait_for(lambda: known(server), "two spares", STARVED)
    server.deploy("m", SCALE)
    worker = server.named("worker m/1")
    assert worker.pid in waiting
    assert worker.ppid() == server.pid
    assert (worker.nice(), os.sched_getscheduler(worker.pid)) == (server.named("gateway").nice(), os.SCHED_OTHER)
    wait_for(lambda: len(spares(server)) == 2, "two more", STARVED)


def test_a_spare_that_died_is_passed_over(serve: Serve) -> None:
    """The next one is taken, or a fork is made as if there had been none."""
    server = serve()
    first = wait_for(lambda: known(server), "two spares", STARVED)
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not set(first) & set(spares(server)), "their end")
    server.deploy("m", SCALE)
    assert server.named("worker m/1").is_running()


def test_a_spare_that_died_is_replaced(serve: Serve) -> None:
    """Without a push, and before one needs it."""
    server = serve()
    first = wait_for(lambda: known(server), "two spares", STARVED)
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: first[0] not in spares(server) and len(spares(server)) == 2, "two spares again", STARVED)
    assert first[1] in spares(server)


def test_spares_end_with_their_zygote(serve: Serve) -> None:
    """They are of no use to the next one, which makes its own."""
    server = serve()
    waiting = wait_for(lambda: known(server), "two spares", STARVED)
    server.named("zygote").kill()
    wait_for(lambda: not set(spares(server)) & set(waiting), "their end")
    assert len(wait_for(lambda: known(server), "two others", STARVED)) == 2


def test_a_replacement_in_a_hurry_is_not_low(serve: Serve) -> None:
    """It comes from a spare that was, and is a normal process before its first instruction."""
    server = serve()
    server.deploy("m", SCALE)
    waiting = wait_for(lambda: known(server), "two spares", STARVED)
    server.infer("m", {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]})
    server.named("worker m/1").kill()
    worker = wait_for(lambda: next((p for p in server.processes() if p.pid in waiting and is_worker(p)), None), "it")
    assert (worker.nice(), os.sched_getscheduler(worker.pid)) == (server.named("gateway").nice(), os.SCHED_OTHER)


def test_children_hold_nothing_of_the_spares(serve: Serve) -> None:
    """A worker that was forked while spares stood by would keep them alive after the zygote; it could speak to them."""
    server = serve()
    first = wait_for(lambda: known(server), "two spares", STARVED)
    zygote_sockets = sockets(server.named("zygote").pid)
    for number in range(3):  # the third one finds no spare left
        server.deploy(f"m{number}", SCALE)
    mine = [sockets(server.named(f"worker m{number}/1").pid) for number in range(3)]
    assert len(zygote_sockets) >= 3
    assert not any(found & zygote_sockets for found in mine), first


def sockets(pid: int) -> set[str]:
    """What the sockets of a process are called."""
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed a moment ago
            found.add(os.readlink(entry.path))
    return {name for name in found if name.startswith("socket:")}


def is_worker(process: psutil.Process) -> bool:
    """By its title."""
    return "".join(process.cmdline()).startswith("changeover: worker")


def test_a_fork_that_fails_ends_the_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no pid to tell, and 0 would be the supervisor's own group."""
    ours, theirs = pair()
    real = os.fork

    def fork() -> int:
        """The next one is the process between's, which dies of it."""
        monkeypatch.setattr(os, "fork", lambda: os._exit(1))
        return real()

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(SystemExit, match="could not be forked"):
        zygote.Nursery(os.getpid()).fork(Link(ours), theirs.fileno(), {"role": "worker", "quiet": False})
    ours.close()
    theirs.close()


def test_a_worker_is_in_the_server_s_autogroup_where_niceness_is_used(serve: Serve) -> None:
    """The kernel weighs niceness among the threads of one autogroup only."""
    server = serve()
    server.deploy("m", SCALE)
    if quiet.method() is not Quiet.NICENESS:
        pytest.skip("niceness cannot be raised again here, so that workers load low by other means")
    gateway, worker = server.named("gateway"), server.named("worker m/1")
    assert os.getsid(worker.pid) == os.getsid(gateway.pid)
    assert os.getpgid(worker.pid) == worker.pid
