"""A worker's sizes, and its life inside a real server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import tritonclient.http as triton

from changeover.lifecycle.seal import seal_folder
from changeover.runtime import quiet
from changeover.tensors import Datatype
from changeover.testing import Server, cpu_seconds, wait_for
from changeover.transport.channel import MAX_CHANNEL_BYTES, checked_size
from changeover.transport.control import Signature, TensorEntry, WorkerSpec, WorkerStatus
from changeover.transport.link import Frame, Link
from changeover.worker.process import Loader, channels
from tests import onnx_models
from tests.conftest import Serve


def signature(datatype: str, shape: list[int], batchable: bool) -> Signature:
    """One input and one output alike."""
    return Signature([TensorEntry("x", datatype, shape)], [TensorEntry("y", datatype, shape)], batchable)


@pytest.mark.parametrize(
    ("told", "largest", "wanted"),
    [
        (signature("FP32", [-1, 4], True), 32, 512),
        (signature("FP32", [1, 4], False), 32, 16 * 64),
        (signature("FP32", [-1, -1], True), 2, 2 * 256 * 4),
        (signature("BYTES", [-1], True), 4, 4 * 64),
        (signature("FP64", [], False), 32, 16 * 64),
    ],
)
def test_a_slot_holds_the_largest_batch(told: Signature, largest: int, wanted: int) -> None:
    """All rows of it, or sixteen runs where rows cannot be put together; 256 stand for a free dimension."""
    size = channels(told, largest)
    assert (size.slots >= 2, size.input_bytes, size.output_bytes) == (True, wanted, wanted)


def test_slots_of_a_huge_model_stay_within_the_channels_limit() -> None:
    """What does not fit travels in memory of its own."""
    size = channels(signature("FP32", [-1, 3, 4096, 4096], True), 64)
    assert size.slots * (size.input_bytes + size.output_bytes) <= MAX_CHANNEL_BYTES + 1024


@pytest.mark.parametrize("instances", [1, 2, 64])
def test_there_are_slots_beyond_the_runners(instances: int) -> None:
    """So that the next batch is there when a runner is free; the supervisor makes channels of that size."""
    size = channels(signature("FP32", [-1, 4], True), 32, instances)
    assert size.slots == instances + 2
    assert checked_size(msgspec.structs.asdict(size)).slots == size.slots


def ask(server: Server, model: str, name: str, array: np.ndarray, datatype: str) -> np.ndarray:
    """One inference in binary form; the only output."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:
        put = triton.InferInput(name, list(array.shape), datatype)
        put.set_data_from_numpy(array)
        found: np.ndarray = client.infer(model, [put]).as_numpy("y")
        return found


@pytest.fixture(scope="module")
def server(shared_server: Server) -> Server:
    """With models of unusual sizes."""
    shared_server.deploy("repeat", onnx_models.repeat().SerializeToString())
    shared_server.deploy("mixing", onnx_models.mixing().SerializeToString())
    shared_server.deploy("free", onnx_models.identity(shape=("N", "M")).SerializeToString())
    return shared_server


@pytest.mark.parametrize("count", [0, 1, 256, 1_000_000])
def test_an_outputs_length_may_come_from_the_data(server: Server, count: int) -> None:
    """From nothing to 8 MB, which no slot of this model holds."""
    found = ask(server, "repeat", "n", np.array(count, np.int64), "INT64")
    assert found.tolist() == list(range(count))


@pytest.mark.parametrize("shape", [(1, 1), (3, 0), (40, 500), (2000, 2000)])
def test_free_dimensions_take_any_size(server: Server, shape: tuple[int, int]) -> None:
    """More rows than a batch, no columns, and 16 MB in both directions."""
    rows = np.random.default_rng(2).random(shape, np.float32)
    assert np.array_equal(ask(server, "free", "x", rows, "FP32"), rows)


def test_a_model_that_mixes_rows_is_never_batched(server: Server) -> None:
    """Many requests at once, each answered as if it were alone."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}", concurrency=8) as client:
        waiting = []
        for number in range(60):
            put = triton.InferInput("x", [1, 4], "FP32")
            put.set_data_from_numpy(np.array([[0, 0, 0, number]], np.float32))
            waiting.append(client.async_infer("mixing", [put]))
        for number, one in enumerate(waiting):
            assert one.get_result().as_numpy("y").tolist() == [[number, number, number, 2 * number]]


def test_a_worker_is_small_and_has_one_job(serve: Serve) -> None:
    """Its title says which; it has no listening socket, no page of the supervisor's, and a group of its own."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    worker = server.named("worker m/1")
    assert os.getpgid(worker.pid) == worker.pid
    assert worker.net_connections() == []
    links = []
    for fd in os.listdir(f"/proc/{worker.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed a moment ago
            links.append(os.readlink(f"/proc/{worker.pid}/fd/{fd}"))
    assert not [link for link in links if "changeover-page" in link or "changeover-tables" in link]
    assert worker.cwd() == str(server.state / "empty")
    assert worker.memory_full_info().uss < 40 << 20


def test_nothing_but_the_worker_family_has_onnxruntime(serve: Serve) -> None:
    """The gateway and the controller do not even map it."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    having = {
        name
        for name in ("gateway", "controller", "zygote", "worker m/1")
        if any("onnxruntime" in m.path for m in server.named(name).memory_maps())
    }
    assert having == {"zygote", "worker m/1"}


def rows(*values: float) -> dict[str, Any]:
    """A request of one row."""
    return {"inputs": [{"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}]}


def test_a_long_run_holds_nobody_up_where_there_are_two_instances(serve: Serve) -> None:
    """While one request runs for as long as it likes, others are answered by the second runner of the same worker."""
    server = serve()
    server.plan("m", "runtime: {instances: 2, max_batch: 1}")
    server.deploy("m", onnx_models.endless().SerializeToString())
    worker = server.named("worker m/1")
    idle = cpu_seconds(worker)
    with ThreadPoolExecutor(1) as other:
        long = other.submit(server.infer, "m", rows(1e7, 0, 0, 0), changeover_timeout="5s")
        wait_for(lambda: cpu_seconds(worker) > idle + 0.05, "the long run to be under way")
        for number in range(20):
            reply = server.infer("m", rows(number, 0, 0, 0))
            assert (reply.status, reply.json()["outputs"][0]["data"][0]) == (200, number)
        assert not long.done()
        assert server.named("worker m/1").pid == worker.pid
        assert long.result().status == 504


def test_three_instances_answer_rightly_under_load(serve: Serve) -> None:
    """Shapes of all sizes and texts, from many clients at once: each gets the answer to its own question."""
    server = serve()
    for name, model in (
        ("free", onnx_models.identity(shape=("N", "M"))),
        ("text", onnx_models.identity(Datatype.BYTES)),
        ("repeat", onnx_models.repeat()),
    ):
        server.plan(name, "runtime: {instances: 3, max_batch: 4}")
        server.deploy(name, model.SerializeToString())
    threads = [t for t in server.named("worker free/1").threads() if t.id]
    assert len(threads) >= 4

    def ask_for_all(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(25):
            wide = generator.random((generator.integers(1, 9), generator.integers(0, 900)), np.float32)
            assert np.array_equal(ask(server, "free", "x", wide, "FP32"), wide)
            words = np.array([[str(seed) * int(n) for n in generator.integers(0, 40, 4)]], object)
            found = ask(server, "text", "x", words, "BYTES")
            assert [[item.decode() for item in row] for row in found] == words.tolist()
            count = int(generator.integers(0, 5000))
            assert ask(server, "repeat", "n", np.array(count, np.int64), "INT64").tolist() == list(range(count))

    with ThreadPoolExecutor(6) as clients:
        for _ in clients.map(ask_for_all, range(6)):
            pass


def test_ready_is_told_by_a_normal_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told from the load itself, clients would wait for a worker at idle priority, on a busy machine for seconds."""
    told: list[tuple[str, int]] = []

    class Ear:
        """A link that notes who speaks, and at what priority."""

        def send(self, message: Frame) -> None:
            told.append((json.loads(message.body)["state"], os.sched_getscheduler(0)))

    low: list[int] = []

    def load(_: Loader, __: object) -> tuple[object, WorkerStatus]:
        low.append(os.sched_getscheduler(threading.get_native_id()))
        return "session", WorkerStatus(1, "ready")

    monkeypatch.setattr(Loader, "_load", load)
    monkeypatch.setattr(quiet, "method", lambda _: quiet.Quiet.THREAD)
    spec = WorkerSpec(1, "m", "1", digest="", path="", cache="", empty="")
    assert Loader(cast(Link, Ear()), spec).run() == "session"
    assert (low, told) == ([os.SCHED_IDLE], [("ready", os.SCHED_OTHER)])


UNDER_ULIMIT = """
import resource, sys
from types import SimpleNamespace
from changeover.runtime import memory
from changeover.transport.control import WorkerSpec
from changeover.worker.process import Loader
digest, path, folder = sys.argv[1:]
spec = WorkerSpec(1, "m", "1", digest, path, cache=folder, empty=folder, hurry=True, memory_limit=1 << 30)
outer = memory.address_space() + spec.memory_limit * 3 // 2
resource.setrlimit(resource.RLIMIT_AS, (outer, outer))
Loader(SimpleNamespace(send=lambda _: None), spec).run()
print(resource.getrlimit(resource.RLIMIT_AS) == (outer, outer))
"""


def test_a_limit_from_outside_fails_no_worker(tmp_path: Path) -> None:
    """Under `ulimit -v` between what a plan allows while loading and what it allows while serving."""
    for name in ("version", "store", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "version" / "model.onnx").write_bytes(onnx_models.scale(2).SerializeToString())
    sealed = seal_folder(tmp_path / "version", tmp_path / "store")
    command = [sys.executable, "-c", UNDER_ULIMIT, sealed.digest, str(sealed.model), str(tmp_path / "cache")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("True\n", "")
