"""The state of a model's sequences in a real server: how long its memory lives, and who has it."""

from __future__ import annotations

import os

import psutil

from changeover.testing import Server, wait_for
from tests.conftest import Serve
from tests.worker.sequence_parts import running_sum

PLAN = """
rollout: {strategy: instant, undo_window: 0}
sequence:
  state: [{input: h, output: hn}]
  control: {start: START, end: END, corrid: ID}
  max: 100
"""


def slabs(process: psutil.Process) -> set[int]:
    """Inodes of the slabs that a process has open or mapped."""
    found = set()
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        path = f"/proc/{process.pid}/fd/{fd}"
        try:
            if "changeover-slab" in os.readlink(path):
                found.add(os.stat(path).st_ino)
        except FileNotFoundError:
            continue
    with open(f"/proc/{process.pid}/maps") as maps:
        return found | {int(line.split()[4]) for line in maps if "changeover-slab" in line}


def supervisor(server: Server) -> psutil.Process:
    """The process that keeps it."""
    return psutil.Process(server.pid)


def test_a_slab_lives_as_long_as_its_loading(serve: Serve) -> None:
    """Over the deaths of a worker and of the controller; the next version has another one."""
    server = serve()
    server.plan("m", PLAN)
    server.deploy("m", running_sum().SerializeToString())
    worker = server.named("worker m/1")
    (first,) = slabs(supervisor(server))
    assert slabs(worker) == {first}
    worker.kill()
    server.named("controller").kill()

    def replaced() -> bool:
        found = server.find("worker m/1")
        return found is not None and found.pid != worker.pid and slabs(found) == {first}

    wait_for(replaced, "the next worker has the slab")
    assert slabs(supervisor(server)) == {first}
    assert server.get("/v2/models/m").json()["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    wait_for(lambda: server.get("/v2/health/ready").status == 200, "the server is ready")
    wait_for(lambda: server.find("controller"), "the next controller")
    server.deploy("m", running_sum().SerializeToString(), 2)
    second = server.named("worker m/2")
    wait_for(lambda: slabs(supervisor(server)) == slabs(second), "the first slab is gone")
    assert first not in slabs(second)
