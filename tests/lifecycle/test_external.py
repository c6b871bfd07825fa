"""External data: found wherever it hides, and refused unless it is a plain range of a plain file beside the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from changeover.errors import ModelRejected
from changeover.lifecycle.external import check_external_data
from changeover.lifecycle.verify import verify
from tests.lifecycle.onnx_files import external, linear, model, node_model, value, write


def reason(folder: Path) -> str:
    with pytest.raises(ModelRejected) as caught:
        verify(folder)
    return caught.value.reason


def test_data_beside_the_model_passes(tmp_path: Path) -> None:
    """A range of a file in the folder, and one in a folder below it."""
    write(tmp_path, linear(external(offset=64, length=36)), model_data=b"\0" * 100)
    assert verify(tmp_path).batchable
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(b"\0" * 36)
    assert verify(write(tmp_path, linear(external(location="parts/w.bin")))).batchable


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../model.data",
        "parts/../../secret",
        "",
        ".",
        "..",
        "./../x",
        "a//b",
        "a\\b",
        "a\nb",
        "a\0b",
        "./",
        "file:///etc/passwd/../x",
    ],
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    """Absolute, upwards, or not plain: never opened."""
    assert reason(write(tmp_path, linear(external(location=location)), model_data=b"\0" * 36)) == "external_data_path"


def test_the_runtimes_memory_address_tag_is_refused(tmp_path: Path) -> None:
    """A location that ONNX Runtime takes for an address in its own memory is no file."""
    made = linear(external(location="*/_ORT_MEM_ADDR_/*", offset=140000000000000, length=36))
    assert reason(write(tmp_path, made)) == "external_data_missing"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Data that was not copied with the model."""
    assert reason(write(tmp_path, linear(external()))) == "external_data_missing"


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """A link to a file outside, and a linked folder on the way."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "w").write_bytes(b"\0" * 36)
    folder = write(tmp_path / "1", linear(external()))
    (folder / "model.data").symlink_to(tmp_path / "outside" / "w")
    assert reason(folder) == "external_data_link"
    (folder / "parts").symlink_to(tmp_path / "outside")
    assert reason(write(folder, linear(external(location="parts/w")))) == "external_data_link"


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    """A second name of a file elsewhere could be written through."""
    (tmp_path / "secret").write_bytes(b"\0" * 36)
    folder = write(tmp_path / "1", linear(external()))
    os.link(tmp_path / "secret", folder / "model.data")
    assert reason(folder) == "external_data_link"


def test_a_special_file_is_refused(tmp_path: Path) -> None:
    """A FIFO would hang the reader, a folder is no data."""
    folder = write(tmp_path, linear(external()))
    os.mkfifo(folder / "model.data")
    assert reason(folder) == "external_data_link"
    os.unlink(folder / "model.data")
    (folder / "model.data").mkdir()
    assert reason(folder) == "external_data_link"


@pytest.mark.parametrize(
    "keys",
    [
        {"offset": 65, "length": 36},
        {"offset": -1},
        {"length": -36},
        {"length": 35},
        {"length": 40},
        {"offset": 2**63},
        {"offset": "9" * 400},
        {"offset": "0x10"},
        {"offset": "one"},
        {"offset": ""},
    ],
    ids=str,
)
def test_ranges_outside_the_file_are_refused(tmp_path: Path, keys: dict[str, object]) -> None:
    """Beyond the end, negative, of another length than the tensor, or no numbers."""
    assert reason(write(tmp_path, linear(external(**keys)), model_data=b"\0" * 100)) == "external_data_bounds"


def test_a_short_file_is_refused(tmp_path: Path) -> None:
    """A half-copied file, with no range named."""
    assert reason(write(tmp_path, linear(external()), model_data=b"\0" * 35)) == "external_data_bounds"


def test_a_negative_dimension_is_refused(tmp_path: Path) -> None:
    """Dimensions that multiply to a small number by their signs."""
    tensor = external()
    tensor.dims[:] = [-3, -3]
    assert reason(write(tmp_path, linear(tensor), model_data=b"\0" * 36)) == "external_data_bounds"


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.UNDEFINED, 999])
def test_types_without_a_size_are_refused(tmp_path: Path, kind: int) -> None:
    """Text and unknown types have no fixed number of bytes."""
    tensor = external()
    tensor.data_type = kind
    assert reason(write(tmp_path, linear(tensor), model_data=b"\0" * 36)) == "external_data_type"


def test_a_tensor_that_hides_its_place_is_refused(tmp_path: Path) -> None:
    """Entries of external data count even when the tensor says that its data is inside."""
    tensor = external(location="/etc/passwd")
    tensor.data_location = TensorProto.DEFAULT
    assert reason(write(tmp_path, linear(tensor))) == "external_data_path"


def _in_attribute(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return node_model(helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Add", ["x", "c"], ["y"]))


def _in_tensor_list(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"])
    attribute = node.attribute.add(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(tensor)
    return node_model(node)


def _in_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = linear()
    made.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return made


def _in_sparse_indices(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = linear()
    made.graph.sparse_initializer.add().indices.CopyFrom(tensor)
    return made


def _in_subgraph(tensor: onnx.TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["b"])], "b", [], [value("b")], [tensor])
    middle_node = helper.make_node("If", ["c"], ["b2"], then_branch=inner, else_branch=inner)
    middle = helper.make_graph([middle_node], "m", [], [value("b2")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=middle, else_branch=middle)
    return model(helper.make_graph([node], "g", [value("x"), value("c", (), TensorProto.BOOL)], [value("y")]))


def _in_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = linear()
    nodes = [helper.make_node("Constant", [], ["b"], value=tensor)]
    made.functions.append(helper.make_function("own", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)]))
    return made


def _in_function_default(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = _in_function(external(location="model.data"))
    default = made.functions[0].attribute_proto.add(name="w", type=onnx.AttributeProto.TENSOR)
    default.t.CopyFrom(tensor)
    return made


def _in_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = linear()
    made.training_info.add().initialization.initializer.append(tensor)
    return made


@pytest.mark.parametrize(
    "hide",
    [
        linear,
        _in_attribute,
        _in_tensor_list,
        _in_sparse,
        _in_sparse_indices,
        _in_subgraph,
        _in_function,
        _in_function_default,
        _in_training,
    ],
)
def test_no_hiding_place_is_forgotten(tmp_path: Path, hide: Callable[[onnx.TensorProto], onnx.ModelProto]) -> None:
    """Wherever a tensor can be in a file, a location outside the folder is found."""
    (tmp_path / "model.data").write_bytes(b"\0" * 36)
    sound = check_external_data(hide(external()), tmp_path)
    assert sound >= 1
    with pytest.raises(ModelRejected) as caught:
        check_external_data(hide(external(location="/etc/passwd")), tmp_path)
    assert caught.value.reason == "external_data_path"
