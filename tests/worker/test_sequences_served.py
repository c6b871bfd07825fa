"""Sequences through a whole server, over HTTP, while its workers die."""

from __future__ import annotations

import os
import signal
from typing import Any

from changeover.testing import Server, wait_for
from tests.conftest import Serve
from tests.worker.sequence_parts import running_sum
from tests.worker.test_slab_life import PLAN


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
