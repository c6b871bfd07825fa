"""Two models side by side: weights, operators, metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from changeover.errors import ModelRejected
from changeover.workbench.difference import compare
from tests.interface.adapting import image_model
from tests.workbench.files import written


def changed(name: str, values: object) -> onnx.ModelProto:
    """`image_model` with other weights."""
    made = image_model()
    for tensor in made.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), name))
    return made


def test_a_model_beside_itself(tmp_path: Path) -> None:
    """Nothing differs, and nothing is proposed."""
    path = written(tmp_path, "m", image_model())
    found = compare(path, path)
    assert found["compatible"]
    assert found["differences"] == found["interface"] == found["undecided"] == found["left"] == []
    assert found["operators"] == found["metadata"] == found["opsets"] == {}
    assert (found["parameters"]["same"], found["parameters"]["changed"]) == (2, [])


def test_which_weights_changed_and_by_how_much(tmp_path: Path) -> None:
    """The bias is 1 % longer in each direction, the weights are the same bytes."""
    old = image_model()
    bias = numpy_helper.to_array(old.graph.initializer[1])
    new = written(tmp_path, "new", changed("b", bias * 1.01))
    found = compare(written(tmp_path, "old", old), new)["parameters"]
    (row,) = found["changed"]
    assert row["name"] == "b"
    assert row["relative"] == pytest.approx(0.01, rel=1e-3)
    assert row["largest"] == pytest.approx(0.003, rel=1e-3)
    assert found["same_bytes"] == 16 * 3 * 4


def test_weights_of_another_shape_or_name(tmp_path: Path) -> None:
    """A tensor with another name and the same bytes was renamed; others came and went."""
    new = image_model()
    new.graph.initializer[0].name = "weights"
    new.graph.node[1].input[1] = "weights"
    new.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros((1, 3), np.float32), "b"))
    found = compare(written(tmp_path, "old", image_model()), written(tmp_path, "new", new))["parameters"]
    assert found["renamed"] == [["w", "weights"]]
    assert (found["added"], found["removed"]) == ([], [])
    assert [(row["name"], row["relative"], row["largest"]) for row in found["changed"]] == [("b", 1.0, None)]


def test_operators_opsets_and_metadata(tmp_path: Path) -> None:
    """Only what differs is listed, with both values."""
    new = image_model(opset=18)
    new.graph.node[2].op_type = "Sub"
    new.metadata_props.add(key="author", value="somebody")
    found = compare(written(tmp_path, "old", image_model()), written(tmp_path, "new", new))
    assert found["operators"] == {"Add": [1, None], "Sub": [None, 1]}
    assert found["opsets"] == {"ai.onnx": [17, 18]}
    assert found["metadata"] == {"author": [None, "somebody"]}


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    """A model whose weights became NaN differs as much as can be, and the document stays JSON."""
    found = compare(written(tmp_path, "old", image_model()), written(tmp_path, "new", changed("b", [np.nan] * 3)))
    (row,) = found["parameters"]["changed"]
    assert (row["relative"], row["largest"]) == (1.0, None)


def test_what_is_no_model(tmp_path: Path) -> None:
    """A sentence says which file, and why."""
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no model at all")
    good = written(tmp_path, "m", image_model())
    for other, reason in ((str(path), "not_onnx"), (str(tmp_path / "none"), "source_unreadable")):
        with pytest.raises(ModelRejected) as caught:
            compare(good, other)
        assert caught.value.reason == reason
