"""ONNX Runtime behind its one door: loading with and without the cache, every datatype, and how it is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime import cache, session
from changeover.tensors import Datatype
from changeover.transport.control import WorkerSpec
from tests import onnx_models

Spec = Callable[..., WorkerSpec]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """Make the specification of a model that lies in a folder of its own."""

    def make(model: onnx.ModelProto | bytes, **changes: Any) -> WorkerSpec:
        path = tmp_path / "sealed" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        (tmp_path / "cache").mkdir(exist_ok=True)
        values = {"digest": str(hash(path.read_bytes())), "cache": str(tmp_path / "cache"), "empty": str(tmp_path)}
        return WorkerSpec(1, "m", "1", path=str(path), **values | changes)

    return make


def sample(datatype: Datatype) -> np.ndarray[Any, Any]:
    """Two rows, as the session takes them."""
    if datatype is Datatype.BYTES:
        return np.array([["a", "ünï", "", "x" * 50]] * 2, object)
    if datatype is Datatype.BF16:
        return np.array([[1.5, -2, 0, 3e38]] * 2, ml_dtypes.bfloat16).view(np.uint16)
    return np.array([[0, 1, 1, 0]] * 2, datatype.numpy)


@pytest.mark.parametrize("datatype", Datatype, ids=lambda d: d.name)
def test_every_datatype_goes_through(spec: Spec, datatype: Datatype) -> None:
    """BF16 as raw bits, texts as `str`."""
    loaded = session.load(spec(onnx_models.identity(datatype))).session
    assert [(s.name, s.datatype, s.shape) for s in loaded.inputs] == [("x", datatype, (-1, 4))]
    (out,) = loaded.run([sample(datatype)])
    assert out.dtype == sample(datatype).dtype
    assert np.array_equal(out, sample(datatype))


def test_bf16_is_computed_as_bf16(spec: Spec) -> None:
    """A cast inside the model sees the numbers, not the bits."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        "cast",
        [helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    made.ir_version = 9
    loaded = session.load(spec(made)).session
    bits = np.array([1.5, -2.0, 100.0], ml_dtypes.bfloat16).view(np.uint16)
    assert loaded.run([bits])[0].tolist() == [1.5, -2.0, 100.0]
    assert loaded.run([bits[:0]])[0].shape == (0,)


def test_the_second_load_takes_the_cache(spec: Spec) -> None:
    """And answers the same."""
    described = spec(onnx_models.scale(2))
    first, second = session.load(described), session.load(described)
    assert (first.cache, second.cache) == ("miss", "hit")
    row = np.ones((1, 4), np.float32)
    assert first.session.run([row])[0].tolist() == second.session.run([row])[0].tolist() == [[2.0] * 4]


def test_without_optimisation_there_is_no_cache(spec: Spec, tmp_path: Path) -> None:
    """Nothing is written."""
    assert session.load(spec(onnx_models.scale(2), optimization="off")).cache == "off"
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_level_is_another_entry(spec: Spec) -> None:
    """What one level made is not used for the other."""
    session.load(spec(onnx_models.scale(2), optimization="all"))
    assert session.load(spec(onnx_models.scale(2), optimization="basic")).cache == "miss"


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (session.ort, "__version__", "1.99.0"),
        (session.ort, "get_build_info", lambda: "another build"),
        (cache, "cpu_features", lambda: "another processor"),
    ],
)
def test_what_another_runtime_or_processor_made_is_not_used(
    spec: Spec, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: object
) -> None:
    """An entry from before an upgrade or a move to another machine is passed by, and stays what it was."""
    described = spec(onnx_models.scale(2))
    session.load(described)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(module, name, value)
        assert [session.load(described).cache for _ in range(2)] == ["miss", "hit"]
    assert session.load(described).cache == "hit"


def test_a_damaged_cache_entry_is_made_again(spec: Spec, tmp_path: Path) -> None:
    """Its digest does not match: the source is loaded, and the entry is whole afterwards."""
    described = spec(onnx_models.scale(2))
    session.load(described)
    (file,) = (tmp_path / "cache").glob("*.onnx")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    again = session.load(described)
    assert again.cache == "miss"
    assert again.session.run([np.ones((1, 4), np.float32)])[0].tolist() == [[2.0] * 4]
    assert session.load(described).cache == "hit"


def test_a_cache_entry_that_onnxruntime_refuses_is_made_again(spec: Spec, tmp_path: Path) -> None:
    """An entry with a right digest and an unusable graph must not keep a worker from being replaced."""
    import hashlib

    described = spec(onnx_models.scale(2))
    session.load(described)
    (file,) = (tmp_path / "cache").glob("*.onnx")
    file.write_bytes(b"no graph")
    file.with_suffix(".sha256").write_text(hashlib.sha256(b"no graph").hexdigest())
    assert session.load(described).cache == "miss"
    assert session.load(described).cache == "hit"


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(spec: Spec, tmp_path: Path) -> None:
    """The model is loaded without it."""
    described = spec(onnx_models.scale(2))
    shutil.rmtree(tmp_path / "cache")
    loaded = session.load(described)
    assert loaded.cache in ("off", "miss")
    assert loaded.session.run([np.ones((1, 4), np.float32)])[0].tolist() == [[2.0] * 4]


def test_external_data_comes_back_from_the_cache(spec: Spec, tmp_path: Path) -> None:
    """The optimised graph holds the weights, wherever they lay before."""
    described = spec(b"")
    made = onnx_models.weighty(1)
    onnx.save_model(made, described.path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    row = np.ones((1, 4), np.float32)
    loaded = [session.load(described) for _ in range(2)]
    assert [one.cache for one in loaded] == ["miss", "hit"]
    assert [one.session.run([row])[0].tolist() for one in loaded] == [[[1.0] * 4]] * 2


def test_what_is_no_model_is_rejected(spec: Spec) -> None:
    """Foreign exceptions stop here."""
    with pytest.raises(ModelRejected) as refused:
        session.load(spec(b"nonsense"))
    assert refused.value.reason == "load_failed"


def test_a_failing_operator_is_the_runs_fault(spec: Spec) -> None:
    """The session goes on afterwards."""
    loaded = session.load(spec(onnx_models.gather())).session
    with pytest.raises(ModelRunFailed) as refused:
        loaded.run([np.array([[99]])])
    assert refused.value.reason == "run_failed"
    assert loaded.run([np.array([[3]])])[0].tolist() == [[3.0]]


def imported(home: Path) -> tuple[list[str], dict[str, str]]:
    """A command that imports onnxruntime as the zygote does and counts threads, and its environment."""
    code = (
        "import os; from changeover.worker import process; process.preload();print(len(os.listdir('/proc/self/task')))"
    )
    source = str(Path(sys.modules["changeover"].__file__ or "").parent.parent)
    return [sys.executable, "-c", code], {"HOME": str(home), "PYTHONPATH": source, "OPENBLAS_NUM_THREADS": "1"}


def test_importing_starts_no_thread_and_leaves_no_identity(tmp_path: Path) -> None:
    """One thread, and an empty home stays empty: no device id."""
    command, environment = imported(tmp_path)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []


def test_importing_connects_to_nobody(tmp_path: Path) -> None:
    """No connect() in any thread or child."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    command, environment = imported(tmp_path)
    trace = tmp_path.parent / "trace"
    watched = [strace, "-f", "-e", "trace=connect,sendto", "-o", str(trace), *command]
    done = subprocess.run(watched, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower() and done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:100]}")
    assert done.stdout.strip() == "1"
    assert "connect(" not in trace.read_text()
    assert "sendto(" not in trace.read_text()
