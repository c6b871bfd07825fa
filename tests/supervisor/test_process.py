"""The server's life and end, with real processes: stop under load, sudden death, locks and ports."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from changeover.testing import Outlived, Server, cpu_seconds, wait_for
from changeover.testing.traces import hasten
from tests import onnx_models
from tests.best import best
from tests.conftest import Serve
from tests.traffic import Traffic

SCALE = onnx_models.scale(2).SerializeToString()


def test_sigterm_under_load_answers_everything_that_was_sent(serve: Serve) -> None:
    """Kept and fresh connections at an open loop: no request is lost, the exit code is 0, and in time."""
    server = serve(lame_duck=1.0, drain_deadline=10.0)
    server.deploy("m", SCALE)
    with Traffic(server.http_port, "m", {"1": 2.0}, rate=250, fresh=0.4) as traffic:
        traffic.wait_for_answers(150)
        started = time.monotonic()
        code = server.stop(patience=20)
        took = time.monotonic() - started
    report = traffic.report
    assert (code, report.failed, report.wrong) == (0, [], 0)
    assert took < 11.0
    assert report.refused > 0, "after the end nobody listens"
    server.assert_nothing_outlives()


def test_sigterm_waits_for_a_long_run(serve: Serve) -> None:
    """A request that takes a second is answered although the server was told to stop meanwhile."""
    server = serve(lame_duck=0.2, drain_deadline=20.0)
    server.plan("m", "runtime: {max_batch: 1}")
    server.deploy("m", onnx_models.endless().SerializeToString())
    worker = server.named("worker m/1")
    ask = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [110_000, 0, 0, 0]}]}
    idle = cpu_seconds(worker)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.infer, "m", ask)
        wait_for(lambda: cpu_seconds(worker) > idle + 0.05, "the run to begin")
        assert server.stop(patience=25) == 0
        assert answer.result(5).json()["outputs"][0]["data"] == [110_000, 0, 0, 0]


def test_a_drain_deadline_that_passes_is_told_by_the_exit_code(serve: Serve) -> None:
    """What cannot be answered in time is cut, and the exit code is 1 for it."""
    server = serve(lame_duck=0.1, drain_deadline=0.3)
    server.plan("m", "runtime: {max_batch: 1}")
    server.deploy("m", onnx_models.endless().SerializeToString())
    worker = server.named("worker m/1")
    idle = cpu_seconds(worker)
    client = socket.create_connection(("127.0.0.1", server.http_port), 10)
    body = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[10000000,0,0,0]}]}'
    client.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    wait_for(lambda: cpu_seconds(worker) > idle + 0.05, "the run to begin")
    assert server.stop(patience=10) == 1
    client.close()
    server.assert_nothing_outlives()


def test_a_second_signal_ends_at_once(serve: Serve) -> None:
    """Whoever cannot wait sends SIGTERM twice."""
    server = serve(lame_duck=20.0, drain_deadline=20.0)
    server.processes()
    server.signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in server.tail(), "the first signal to be heard")
    server.signal(signal.SIGTERM)
    assert server.wait(5.0) == 1


def test_stopping_before_anything_serves(tmp_path: Path) -> None:
    """SIGTERM right after the start, while interpreters are still importing, ends the server too."""
    for delay in (0.0, 0.1, 0.3):
        server = Server(tmp_path / str(delay))
        server.start()
        time.sleep(delay)  # the moment is what is tested
        server.processes()
        server.signal(signal.SIGTERM)
        assert server.wait(15.0) == 0, server.tail()
        server.assert_nothing_outlives(2.0)


def ended(family: Sequence[int]) -> float:
    """The moment (`time.monotonic`) at which the last of these processes had ended, by the kernel's own word."""
    with contextlib.ExitStack() as stack:
        left = select.poll()
        count = 0
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                left.register(descriptor, select.POLLIN)
                count += 1
        until = time.monotonic() + 10.0
        while count:
            for descriptor, _ in left.poll(max(0.0, until - time.monotonic()) * 1000):
                left.unregister(descriptor)
                count -= 1
            assert time.monotonic() < until, "something outlives"
        return time.monotonic()


def killed(server: Server) -> float:
    """Seconds from SIGKILL for the supervisor to the moment when no process, socket or shared memory is left."""
    server.processes()
    family = [process for process in server._seen.values() if process.is_running()]
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(ended, [process.pid for process in family])
        began = time.monotonic()
        server.signal(signal.SIGKILL)
        wait_for(lambda: server._process is None or server._process.poll() is not None, "the supervisor's end")
        hasten(family)
        took = end.result() - began
    try:
        server.assert_nothing_outlives(0.0)
    except Outlived:  # by a process that was not known, so that its end was not waited for
        server.assert_nothing_outlives(10.0)
        took = time.monotonic() - began
    return took


def test_when_the_supervisor_is_killed_everything_dies(tmp_path: Path) -> None:
    """One second after SIGKILL: no process, no listening socket, no shared memory, under load and with two versions."""
    folders = (tmp_path / str(number) for number in range(3))

    def lived_and_killed() -> float:
        with Server(next(folders)) as server:
            server.deploy("m", SCALE)
            server.deploy("m", onnx_models.scale(3).SerializeToString())
            with Traffic(server.http_port, "m", {"1": 2.0, "2": 3.0}) as traffic:
                traffic.wait_for_answers(30)
                assert len(server.processes()) >= 6
                return killed(server)

    assert best(lived_and_killed, 1.0) < 1.0


@pytest.mark.slow
def test_killed_in_its_first_second_it_takes_everything_along(tmp_path: Path) -> None:
    """SIGKILL while children are forked, imported or loading leaves none of them."""
    generator = random.Random(5)
    folders = (tmp_path / str(number) for number in itertools.count())

    def started_and_killed(after: float) -> float:
        server = Server(next(folders))
        folder = server.repository / "m" / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(onnx_models.weighty(8).SerializeToString())
        server.start()
        until = time.monotonic() + after
        while time.monotonic() < until:
            server.processes()
        return killed(server)

    for _ in range(6):
        after = generator.uniform(0.0, 1.0)
        assert best(lambda: started_and_killed(after), 1.0) < 1.0  # noqa: B023


def test_two_servers_cannot_share_a_state_folder(shared_server: Server, tmp_path: Path) -> None:
    """The second one says whose folder it is and ends with a failure; the first one goes on."""
    second = Server(tmp_path, state_dir=shared_server.state)
    told = (shared_server.state / "server.json").read_text()
    with pytest.raises(RuntimeError, match="state_dir_in_use"):
        second.start()
    (shared_server.state / "server.json").write_text(told)  # `Server.start` looks for a fresh one
    assert shared_server.get("/v2/health/ready").status == 200


@pytest.mark.parametrize("setting", ["http_port", "grpc_port", "control_port"])
def test_a_taken_port_is_told(shared_server: Server, tmp_path: Path, setting: str) -> None:
    """The server ends at once, and its message names the flag to change."""
    server = Server(tmp_path, **{setting: getattr(shared_server, setting)})
    with pytest.raises(RuntimeError, match=f"(?s)--{setting.replace('_', '-')}.*port_taken"):
        server.start()


def test_the_supervisor_imports_the_standard_library_only() -> None:
    """The parent of all holds no third-party module: the less there is, the less can fail."""
    code = (
        "import sys, changeover.supervisor.process as p;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    source = str(Path(sys.modules["changeover"].__file__ or "").parent.parent)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert eval(done.stdout) == ["__main__", "changeover"] or eval(done.stdout) == ["changeover"]  # noqa: S307 - ours


def test_the_supervisor_keeps_no_channel_and_leaks_no_descriptor(serve: Serve) -> None:
    """After some killed workers it holds as many descriptors as before."""
    server = serve()
    server.deploy("m", SCALE)
    with Traffic(server.http_port, "m", {"1": 2.0}, rate=50) as traffic:
        for killed in range(6):
            if killed == 1:
                before = len(descriptors(server))
            worker = server.named("worker m/1")
            worker.kill()
            wait_for(lambda gone=worker: not gone.is_running(), "its end")  # type: ignore[misc]
            traffic.wait_for_answers(10)
    server.named("worker m/1")
    # While a worker comes there are its channels for a moment; what leaks stays.
    held = wait_for(lambda: fewest(server, before), "as many as before")
    assert len(held) <= before
    assert not [target for target in held if "changeover-channel" in target]


def fewest(server: Server, before: int) -> list[str] | None:
    """What the supervisor holds, once that is no more than `before` and none is a channel's."""
    held = descriptors(server)
    passing = len(held) > before or any("changeover-channel" in target for target in held)
    return None if passing else held


def descriptors(server: Server) -> list[str]:
    """What the supervisor's descriptors stand for."""
    found = []
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed a moment ago
            found.append(str(entry.readlink()))
    return found


def test_no_zombie_is_left(serve: Serve) -> None:
    """Workers that were released are reaped, whoever forked them."""
    server = serve()
    server.plan("m", "rollout: {strategy: instant, undo_window: 0}")
    for factor in (2, 3, 4):
        server.deploy("m", onnx_models.scale(factor).SerializeToString())
    wait_for(lambda: len(server.processes()) == 5, "the old workers to end")
    assert [p for p in server.processes() if p.status() == psutil.STATUS_ZOMBIE] == []
