"""Runs bound to their memory: the same answers, and every doubt is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from changeover.runtime import session
from changeover.runtime.bound import Bound, bind
from changeover.runtime.faults import FaultySession
from changeover.runtime.session import Session
from changeover.tensors import Datatype
from changeover.transport.control import Fault, WorkerSpec
from tests import onnx_models

Array = np.ndarray[Any, Any]
Open = Callable[[onnx.ModelProto], Session]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Load a model."""

    def open_(model: onnx.ModelProto) -> Session:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        return session.load(spec).session

    return open_


def bound_to(loaded: Session, *arrays: Array) -> tuple[Bound | None, list[Array]]:
    """A run bound to these inputs, and its outputs."""
    feeds = {spec.name: array for spec, array in zip(loaded.inputs, arrays, strict=True)}
    right = loaded.run_feeds(feeds)
    outputs = [np.zeros_like(array) for array in right]
    return bind(loaded, feeds, outputs, right), outputs


@pytest.mark.parametrize("model", [onnx_models.scale(2), onnx_models.identity(), onnx_models.mixing()])
def test_a_bound_run_sees_new_inputs(opened: Open, model: onnx.ModelProto) -> None:
    """And writes what the usual run gives, where it was told."""
    loaded, x = opened(model), np.ones((3, 4), np.float32)
    bound, (y,) = bound_to(loaded, x)
    assert bound is not None
    for number in range(4):
        x[...] = np.arange(12, dtype=np.float32).reshape(3, 4) - number
        assert bound.run()
        assert np.array_equal(y, loaded.run([x])[0])


def test_several_inputs_and_outputs(opened: Open) -> None:
    """Each in its place."""
    first, second = np.arange(16, dtype=np.int32).reshape(1, 16), np.full((1, 16), 3, np.int32)
    bound, (total, difference) = bound_to(opened(onnx_models.add_sub()), first, second)
    second += 1
    assert bound is not None
    assert bound.run()
    assert (total.tolist(), difference.tolist()) == ((first + second).tolist(), (first - second).tolist())


def test_a_run_that_fails_says_so(opened: Open) -> None:
    """The usual run tells what is wrong; the next one is right again."""
    rows = np.array([[1], [2]], np.int64)
    bound, (y,) = bound_to(opened(onnx_models.gather()), rows)
    assert bound is not None
    rows[0] = 99
    assert not bound.run()
    rows[0] = 7
    assert bound.run()
    assert y.tolist() == [[7.0], [2.0]]


def test_an_output_of_another_size_says_so(opened: Open) -> None:
    """The memory beside it is not touched."""
    n = np.array(3, np.int64)
    loaded, memory = opened(onnx_models.repeat()), np.full(8, -1, np.int64)
    bound = bind(loaded, {"n": n}, [memory[:3]], loaded.run([n]))
    assert bound is not None
    for count in (5, 2, 0):
        n[...] = count
        assert not bound.run()
        assert memory[3:].tolist() == [-1] * 5


def test_an_output_that_is_not_written_says_so(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has left there is nobody's answer."""
    bound, _ = bound_to(opened(onnx_models.scale(2)), np.ones((1, 4), np.float32))
    assert bound is not None
    monkeypatch.setattr(Bound, "_run", lambda *_: None)
    assert not bound.run()


def test_what_cannot_be_bound_is_not(opened: Open) -> None:
    """Texts, no elements, outputs that never come again alike, and sessions that are more than onnxruntime's."""
    texts, none = np.array([["a"] * 4], object), np.ones((0, 4), np.float32)
    assert bound_to(opened(onnx_models.identity(Datatype.BYTES)), texts)[0] is None
    loaded, x = opened(onnx_models.scale(2)), np.ones((1, 4), np.float32)
    assert bound_to(loaded, none)[0] is None
    assert bound_to(FaultySession(loaded, [Fault("error", after=99)], seed=1), x)[0] is None
    assert bind(loaded, {"x": x}, [np.zeros_like(x)], [x]) is None
    assert bound_to(loaded, x)[0] is not None
