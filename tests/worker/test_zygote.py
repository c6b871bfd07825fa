"""The zygote inside a real server: one thread, quick workers, and workers that outlive it."""

from __future__ import annotations

import time

import psutil

from changeover.testing import wait_for
from tests import onnx_models
from tests.conftest import Serve

SCALE = onnx_models.scale(2).SerializeToString()


def test_the_zygote_has_one_thread(serve: Serve) -> None:
    """More would make its forks unsafe; it opens no socket either."""
    server = serve()
    server.deploy("m", SCALE)
    zygote = server.named("zygote")
    assert zygote.num_threads() == 1
    assert zygote.net_connections() == []


def test_workers_outlive_their_zygote(serve: Serve) -> None:
    """They are the supervisor's children by adoption, and the next zygote makes the next ones."""
    server = serve()
    server.deploy("m", SCALE)
    zygote, worker = server.named("zygote"), server.named("worker m/1")
    zygote.kill()
    wait_for(lambda: not zygote.is_running(), "the zygote's end")
    assert worker.is_running()
    assert worker.ppid() == server.pid
    server.deploy("m", onnx_models.scale(3).SerializeToString())
    assert server.named("worker m/2").ppid() == server.pid


def test_a_killed_worker_is_back_soon(serve: Serve) -> None:
    """From SIGKILL to the first answer of its replacement: bounded generously here, measured by the bench."""
    server = serve()
    server.deploy("m", SCALE)
    ask = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    server.named("worker m/1").kill()
    started = time.monotonic()
    assert server.infer("m", ask).status == 200
    assert time.monotonic() - started < 3.0


def test_a_worker_takes_little_memory_of_its_own(serve: Serve) -> None:
    """Most of it is shared with the zygote."""
    server = serve()
    server.deploy("m", SCALE)
    worker: psutil.Process = server.named("worker m/1")
    info = worker.memory_full_info()
    assert info.uss < info.rss / 2
