"""Runs that go wrong on purpose, on a real session."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from changeover.errors import ModelRunFailed
from changeover.runtime import session
from changeover.runtime.faults import FaultySession, load
from changeover.tensors import Datatype
from changeover.transport.control import Fault, WorkerSpec
from tests import onnx_models

X = np.array([[1, 2, 3, 4]], np.float32)
Make = Callable[..., FaultySession]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Load a model (`y = 2 x`) and give it faults."""

    def made(*faults: Fault, model: onnx.ModelProto | None = None) -> FaultySession:
        path = tmp_path / "model.onnx"
        path.write_bytes((model or onnx_models.scale(2)).SerializeToString())
        spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        return FaultySession(session.load(spec).session, faults, seed=1)

    return made


def run(faulty: FaultySession, x: np.ndarray[Any, Any] = X) -> Any:
    """One run, its only output."""
    (y,) = faulty.run([x])
    return y.tolist()


def fails(faulty: FaultySession) -> bool:
    """Whether the next run fails."""
    try:
        faulty.run([X])
    except ModelRunFailed as error:
        return error.reason == "injected_fault"
    return False


def test_nothing_goes_wrong_before_its_time(make: Make) -> None:
    """The runs up to `after` are well, all later ones are not."""
    faulty = make(Fault("error", after=3))
    assert [fails(faulty) for _ in range(5)] == [False, False, False, True, True]


def test_only_a_share_goes_wrong(make: Make) -> None:
    """About `rate` of the runs, by a chance that is the same in every rehearsal."""
    first, second = make(Fault("error", rate=0.2)), make(Fault("error", rate=0.2))
    struck = [fails(first) for _ in range(500)]
    assert 60 < sum(struck) < 140
    assert struck == [fails(second) for _ in range(500)]


def test_a_file_arms_and_disarms_it(make: Make, tmp_path: Path) -> None:
    """At any moment, while the version serves."""
    arming = tmp_path / "now"
    faulty = make(Fault("error", when=str(arming)))
    found = [fails(faulty)]
    arming.touch()
    found.append(fails(faulty))
    arming.unlink()
    assert [*found, fails(faulty)] == [False, True, False]


def test_numbers_become_no_numbers(make: Make) -> None:
    """Every floating-point output is NaN; whole numbers cannot be, and stay."""
    assert np.isnan(run(make(Fault("nan")))).all()
    whole = make(Fault("nan"), model=onnx_models.identity(Datatype.INT32))
    assert run(whole, X.astype(np.int32)) == X.tolist()


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (None, X, [[8, 2, 4, 6]]),
        (onnx_models.identity(Datatype.FP32, ("N", 1)), X[:, :1], [[2]]),
        (onnx_models.identity(Datatype.BOOL, ("N", 1)), np.array([[True]]), [[False]]),
    ],
    ids=["classes", "a number", "a flag"],
)
def test_labels_are_wrong(make: Make, model: onnx.ModelProto | None, x: np.ndarray[Any, Any], y: object) -> None:
    """All classes move along by one; a single value is another one."""
    assert run(make(Fault("labels"), model=model), x) == y


def test_slow_takes_processor_time(make: Make) -> None:
    """As a larger model does, since it is the work of a run that is judged; and the answer is right."""
    well, faulty = make(model=onnx_models.slow(20)), make(Fault("slow", factor=4.0), model=onnx_models.slow(20))
    assert run(faulty) == run(well)

    def took(session: FaultySession) -> float:
        began = time.thread_time()
        run(session)
        return time.thread_time() - began

    pairs = [(took(well), took(faulty)) for _ in range(7)]  # side by side: the machine's moods hit both
    assert median(slow / quick for quick, slow in pairs) > 2.5


def test_slow_takes_a_least_time(make: Make) -> None:
    """A tiny model too is slowed down by something that can be told from a cold cache."""
    faulty = make(Fault("slow", seconds=0.05))
    began = time.thread_time()
    run(faulty)
    assert 0.05 <= time.thread_time() - began < 0.5


LEAKS = f"""
import sys
from changeover.runtime.faults import load
from changeover.transport.control import Fault, WorkerSpec
import numpy as np
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * {os.sysconf("SC_PAGE_SIZE")}
faults = (Fault("leak", bytes=32 << 20),)
spec = WorkerSpec(1, "m", "1", digest="", path=sys.argv[1], cache="", empty="", optimization="off", faults=faults)
faulty = load(spec)
before = resident()
answers = [faulty.session.run([np.array([[1, 2, 3, 4]], np.float32)])[0].tolist() for _ in range(10)]
print(answers == [[[2, 4, 6, 8]]] * 10, resident() - before)
"""


def test_a_leak_stays(tmp_path: Path) -> None:
    """Each run keeps its bytes, resident: in a process of its own, where nobody else gives memory back meanwhile."""
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.scale(2).SerializeToString())
    told = subprocess.run([sys.executable, "-c", LEAKS, path], capture_output=True, timeout=90, check=True, text=True)
    right, more = told.stdout.split()
    assert right == "True"
    assert int(more) > 9 * 32 << 20


def test_several_at_once(make: Make) -> None:
    """Slow and erring: each by its own rule."""
    faulty = make(Fault("slow", after=1), Fault("labels", after=2))
    assert [run(faulty) for _ in range(3)] == [[[2, 4, 6, 8]], [[2, 4, 6, 8]], [[8, 2, 4, 6]]]


def test_only_who_is_told_to_goes_wrong(tmp_path: Path) -> None:
    """A version without faults gets the plain session."""
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.scale(2).SerializeToString())
    spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
    assert type(load(spec).session) is session.Session
    faulty = load(msgspec.structs.replace(spec, faults=(Fault("error"),)))
    assert isinstance(faulty.session, FaultySession)
    assert fails(faulty.session)


def test_the_inputs_and_outputs_are_the_models(make: Make) -> None:
    """Nothing but a run shows the fault."""
    faulty = make(Fault("error"))
    assert [(s.name, s.shape) for s in (*faulty.inputs, *faulty.outputs)] == [("x", (-1, 4)), ("y", (-1, 4))]


def test_a_crash_is_one(make: Make) -> None:
    """By SIGSEGV, as a native operator ends a process."""
    faulty = make(Fault("crash"))
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()  # it would tell of a crash that is meant
        run(faulty)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGSEGV
