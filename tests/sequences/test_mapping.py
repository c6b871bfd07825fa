"""Steps of a map: what each does to a state, what they refuse, and which can be undone."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.sequences.mapping import MapStep, Tools, apply, arrays, files, inverse
from changeover.tensors import Datatype, Tensor


def steps(*said: dict[str, Any]) -> tuple[MapStep, ...]:
    return msgspec.convert(said, tuple[MapStep, ...])


def state(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("at", range(9))
def test_states_are_given_out_in_aligned_memory(at: int) -> None:
    """In a record they begin anywhere; a session would take what is not aligned for other numbers."""
    raw = memoryview(bytes(at) + np.array([0, -5], np.int64).tobytes())[at:]
    found = arrays([Tensor("n", Datatype.INT64, (1, 2), raw)])["n"]
    assert found.flags.aligned
    assert (found.dtype, found.tolist()) == (np.int64, [[0, -5]])


MADE_UP = [
    Tensor("h", Datatype.FP32, (0, 2**64 - 1), b""),
    Tensor("h", Datatype.BYTES, (1, 1), b"\1\0\0\0\xff"),
    Tensor("h", Datatype.BYTES, (1, 4), b"\xff\xff\xff\xff"),
]
"""Tensors that pass for saved ones."""


@pytest.mark.parametrize("odd", MADE_UP)
def test_a_tensor_that_is_not_what_it_says(odd: Tensor) -> None:
    """It is refused as a state that does not fit."""
    with pytest.raises(ModelRejected) as refused:
        arrays([odd])
    assert refused.value.reason == "state_unfit"


def test_rename_pad_crop_and_scale() -> None:
    """They are done in their order, by the names that the steps before left."""
    made = apply(
        steps(
            {"rename": {"h": "hidden"}},
            {"pad": {"hidden": {"axis": 1, "before": 1, "after": 2}}},
            {"crop": {"hidden": {"axis": -1, "after": 1}}},
            {"scale": {"hidden": 0.5}},
        ),
        {"h": state(1, 2), "c": state(1, 2)},
        Tools(),
    )
    assert made["hidden"].tolist() == [[0, 0.5, 1, 0]]
    assert made["c"].tolist() == [[1, 2]]
    assert sorted(made) == ["c", "hidden"]


def test_names_are_exchanged_at_once() -> None:
    """A renaming in a circle loses nothing."""
    made = apply(steps({"rename": {"h": "c", "c": "h"}}), {"h": state(1), "c": state(2)}, Tools())
    assert (made["h"].size, made["c"].size) == (2, 1)


def test_project() -> None:
    """Each vector along the axis is multiplied by the matrix; type and the other axes stay."""
    matrix = np.array([[1, 0, 2], [0, 1, 3]], np.float64)
    made = apply(
        steps({"project": {"h": {"matrix": "m.npy", "axis": 0}}}), {"h": state(2, 2)}, Tools({"m.npy": matrix})
    )
    assert made["h"].tolist() == [[1, 2], [3, 4], [11, 16]]
    assert made["h"].dtype == np.float32


def test_graph() -> None:
    """A graph gets all states and gives all."""
    made = apply(steps({"graph": "g.onnx"}), {"h": state(2)}, Tools({}, {"g.onnx": lambda s: {"both": s["h"] * 2}}))
    assert {name: array.tolist() for name, array in made.items()} == {"both": [2, 4]}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"rename": {"x": "y"}}, "step 1 (rename): there is no 'x'"),
        ({"rename": {"h": "c"}}, "there is a state 'c' already"),
        ({"rename": {"h": "d", "c": "d"}}, "two states get one name"),
        ({"pad": {"h": {"axis": 4, "after": 1}}}, "no axis 4"),
        ({"crop": {"h": {"axis": 0, "after": 9}}}, "2 elements there, and 9 would go"),
        ({"scale": {"n": 0.5}}, "'n' is int64"),
        ({"project": {"h": {"matrix": "m.npy"}}}, "m.npy is [3, 3], and 'h' is [1, 2]"),
    ],
)
def test_what_does_not_fit_is_refused(said: dict[str, Any], sentence: str) -> None:
    """The error names the step and what is wrong with it."""
    states = {"h": state(2, 1) if "crop" in said else state(1, 2), "c": state(1), "n": np.arange(2)}
    with pytest.raises(ModelRejected) as refused:
        apply(steps(said), states, Tools({"m.npy": np.eye(3)}))
    assert refused.value.reason == "state_unfit"
    assert sentence in refused.value.message


@pytest.mark.parametrize("said", [{}, {"rename": {}, "scale": {}}, {"twist": {}}, {"pad": {"h": {"after": -1}}}])
def test_a_step_has_one_known_member(said: dict[str, Any]) -> None:
    """None, two or an unknown one is refused when the plan is read."""
    with pytest.raises(msgspec.ValidationError):
        steps(said)


def test_the_inverse_undoes_the_steps() -> None:
    """A renaming, a padding and a factor are taken back in reverse order."""
    there = steps({"rename": {"h": "s"}}, {"pad": {"s": {"axis": 1, "after": 3}}}, {"scale": {"s": 4.0}})
    back = inverse(there)
    assert back is not None
    states = {"h": state(2, 3)}
    assert np.array_equal(apply(back, apply(there, states, Tools()), Tools())["h"], states["h"])


@pytest.mark.parametrize(
    "said",
    [
        {"crop": {"h": {"after": 1}}},
        {"scale": {"h": 0.0}},
        {"project": {"h": {"matrix": "m.npy"}}},
        {"graph": "g.onnx"},
    ],
)
def test_what_loses_something_has_no_inverse(said: dict[str, Any]) -> None:
    """One such step among others is enough."""
    assert inverse(steps({"rename": {"h": "s"}}, said)) is None


def test_files_that_steps_need() -> None:
    """Matrices and graphs, each once."""
    said = steps({"project": {"h": {"matrix": "m"}, "c": {"matrix": "m"}}}, {"graph": "g"}, {"scale": {"h": 2.0}})
    assert files(said) == ({"m"}, {"g"})
