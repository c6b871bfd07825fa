"""Sequences through a whole server, over HTTP, while its workers die."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from changeover.testing import Server, wait_for
from tests.conftest import Serve
from tests.worker.sequence_parts import running_sum
from tests.worker.test_slab_life import PLAN

KILLS = 5


def step(server: Server, identity: int | str, value: float, **more: Any) -> float:
    """One step; the first element of y."""
    request = {
        "parameters": {"sequence_id": identity, **more},
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [value] * 4}],
    }
    answer = server.infer("m", request)
    assert answer.status == 200, answer.body
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    return float(outputs["y"][0])


def test_a_sequence_goes_on_over_the_deaths_of_its_workers(serve: Serve) -> None:
    """Twelve steps of three sequences, and a kill after every second round: each sum is right."""
    server = serve()
    server.plan("m", PLAN)
    server.deploy("m", running_sum().SerializeToString())
    sums = dict.fromkeys((1, "1", "name"), 0.0)
    for number in range(1, 13):
        for identity in sums:
            sums[identity] += number
            assert step(server, identity, number, sequence_start=number == 1) == sums[identity]
        if number % 2 == 0:
            pid = server.named("worker m/1").pid
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: (f := server.find("worker m/1")) and f.pid != pid, "the next worker")


def test_sequences_go_on_in_the_next_version(serve: Serve) -> None:
    """Begun in one version and stepped on in the other, each exactly once; one that begins later begins there."""
    server = serve()
    server.plan("m", PLAN)
    server.deploy("m", running_sum().SerializeToString())
    for identity in range(1, 9):
        assert step(server, identity, identity, sequence_start=True) == identity
    server.deploy("m", running_sum().SerializeToString(), 2)
    for identity in range(1, 9):
        assert step(server, identity, 10) == identity + 10
        assert step(server, identity, 100, sequence_end=True) == identity + 110
    assert step(server, 9, 1, sequence_start=True) == 1
    wait_for(lambda: server.find("worker m/1") is None, "the first version is released")
    assert step(server, 9, 1) == 2


class Crowd:
    """Clients with a sequence each, who step until they are told to stop and note every sum that is not right."""

    def __init__(self, server: Server, size: int) -> None:
        self.steps = 0
        self.wrong: list[str] = []
        self.stopping = threading.Event()
        self._server = server
        self._clients = [threading.Thread(target=self._live, args=(identity,)) for identity in range(1, size + 1)]
        for client in self._clients:
            client.start()

    def stop(self) -> None:
        """Everybody's last answer is here."""
        self.stopping.set()
        for client in self._clients:
            client.join()

    def _live(self, identity: int) -> None:
        total, number = 0.0, 0
        try:
            while not self.stopping.is_set():
                number += 1
                total += number
                found = step(self._server, identity, number, sequence_start=number == 1)
                self.steps += 1
                if found != total:
                    self.wrong.append(f"step {number} of {identity}: {found} instead of {total}")
                    total = found
        except AssertionError as error:
            self.wrong.append(str(error))


def killed(server: Server, crowd: Crowd, times: int) -> None:
    """Kill the worker at random moments, each time when the crowd has gone on with the one before, or it is wrong."""
    chance = random.Random(3)
    for _ in range(times):
        seen = crowd.steps
        wait_for(lambda seen=seen: crowd.wrong or crowd.steps > seen + 20, "the crowd goes on")
        if crowd.wrong:
            break
        until = perf_counter() + chance.random() * 0.005
        while perf_counter() < until:
            pass
        pid = server.named("worker m/1").pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: (f := server.find("worker m/1")) and f.pid != pid, "the next worker")


@pytest.mark.parametrize("fault", [None, "torn"])
def test_workers_killed_at_random_lose_and_double_no_step(serve: Serve, tmp_path: Path, fault: str | None) -> None:
    """Eight clients at once; without the commit word, the negative control, the same clients see wrong sums."""
    (tmp_path / "faults.json").write_text(json.dumps({"models": {"m": {"1": {"kind": fault}} if fault else {}}}))
    server = serve(faults=str(tmp_path / "faults.json"))
    server.plan("m", PLAN)
    server.deploy("m", running_sum().SerializeToString())
    crowd = Crowd(server, 8)
    try:
        killed(server, crowd, KILLS if fault is None else 20 * KILLS)  # the control goes on until it is wrong
    finally:
        crowd.stop()
    assert bool(crowd.wrong) is (fault is not None), crowd.wrong
