"""Verification: what a sound model's signature is, and every kind of file that is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from changeover.errors import ModelRejected
from changeover.lifecycle.verify import MAX_IR, MAX_OPSETS, verify
from changeover.tensors import Datatype, TensorSpec
from tests.lifecycle.onnx_files import linear, model, node_model, value, weights, write


def reason(folder: Path) -> str:
    with pytest.raises(ModelRejected) as caught:
        verify(folder)
    return caught.value.reason


def test_a_sound_model_has_its_signature(tmp_path: Path) -> None:
    """Inputs, outputs, batching, opset, producer and metadata are read from the file."""
    made = linear()
    made.producer_name, made.producer_version = "pytorch", "2.9"
    helper.set_model_props(made, {"author": "somebody"})
    found = verify(write(tmp_path, made))
    assert found.inputs == (TensorSpec("x", Datatype.FP32, (-1, 3)),)
    assert found.outputs == (TensorSpec("y", Datatype.FP32, (-1, 3)),)
    assert (found.batchable, found.opset, found.producer) == (True, 17, "pytorch 2.9")
    assert found.metadata == {"author": "somebody"}


def test_weights_listed_as_inputs_are_none(tmp_path: Path) -> None:
    """Files before IR 4 list their initializers among the inputs: nobody sends those."""
    made = linear(ir=3)
    made.graph.input.append(value("w", (3, 3)))
    assert [spec.name for spec in verify(write(tmp_path, made)).inputs] == ["x"]


@pytest.mark.parametrize(
    ("first_in", "first_out", "batchable"),
    [
        ("N", "N", True),
        (None, None, True),
        ("N", None, True),
        ("unk__5", "N", True),
        ("N", "M", False),
        (2, 2, False),
        ("N", 2, False),
    ],
)
def test_batchable_by_first_dimensions(
    tmp_path: Path, first_in: str | int | None, first_out: str | int | None, batchable: bool
) -> None:
    """Rows may be put together only when the first dimension is free, and the same, everywhere."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", (first_in, 3))], [value("y", (first_out, 3))]
    )
    assert verify(write(tmp_path, model(graph))).batchable is batchable


def test_scalars_are_not_batchable(tmp_path: Path) -> None:
    """A tensor without dimensions has no rows."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", ())], [value("y", ())])
    found = verify(write(tmp_path, model(graph)))
    assert found.batchable is False
    assert found.inputs[0].shape == ()


@pytest.mark.parametrize("kind", [member for member in Datatype if member is not Datatype.BYTES])
def test_every_datatype_of_the_protocol_is_known(tmp_path: Path, kind: Datatype) -> None:
    """Each type that ONNX and the protocol share comes through by its protocol name."""
    number = TensorProto.DataType.Value(kind.onnx[7:-1].upper())
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value("x", kind=number)], [value("y", kind=number)]
    )
    assert verify(write(tmp_path, model(graph))).inputs[0].datatype is kind


def test_text_tensors_are_bytes(tmp_path: Path) -> None:
    """ONNX strings are the protocol's BYTES."""
    kind = TensorProto.STRING
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value("x", kind=kind)], [value("y", kind=kind)]
    )
    assert verify(write(tmp_path, model(graph))).outputs[0].datatype is Datatype.BYTES


@pytest.mark.parametrize(
    "data", [b"", b"hello world, this is a text\n" * 20, b"PK\x03\x04" + b"\0" * 100, os.urandom(5000)]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Empty, text, an archive, noise: no ONNX files."""
    assert reason(write(tmp_path, data)) == "not_onnx"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_cut_off_files_are_refused(tmp_path: Path, share: float) -> None:
    """A model cut off at any place does not pass."""
    data = linear().SerializeToString()
    assert reason(write(tmp_path, data[: int(len(data) * share)])) in ("not_onnx", "checker_failed", "io_unsupported")


def test_the_runtimes_own_format_is_refused(tmp_path: Path) -> None:
    """A .ort flatbuffer is told apart and named, also when it calls itself model.onnx."""
    assert reason(write(tmp_path, b"\x18\x00\x00\x00ORTM" + b"\0" * 200)) == "ort_format"


def test_a_newer_file_format_is_refused(tmp_path: Path) -> None:
    """IR versions beyond the runtime's are refused."""
    assert reason(write(tmp_path, linear(ir=MAX_IR + 1))) == "ir_unsupported"


@pytest.mark.parametrize("opset", [MAX_OPSETS[""] + 1, 9999, 0, -3])
def test_an_unknown_opset_is_refused(tmp_path: Path, opset: int) -> None:
    """Operator sets newer than the runtime's, and nonsense, are refused."""
    assert reason(write(tmp_path, linear(opset=opset))) == "opset_unsupported"


def test_the_limits_are_the_runtimes(tmp_path: Path) -> None:
    """The installed runtime takes the newest opset and format that we take: else the limits have to be moved."""
    code = (
        "import sys, onnxruntime; options = onnxruntime.SessionOptions(); options.log_severity_level = 4\n"
        "onnxruntime.InferenceSession(sys.argv[1], options)"
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
    newest = write(tmp_path, model(graph, opset=MAX_OPSETS[""], ir=MAX_IR)) / "model.onnx"
    run = subprocess.run(
        [sys.executable, "-c", code, str(newest)],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert verify(tmp_path).opset == MAX_OPSETS[""]


def test_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    """A standard operator that does not exist is refused by its name."""
    assert reason(write(tmp_path, node_model(helper.make_node("Frobnicate", ["x"], ["y"])))) == "operator_unknown"


@pytest.mark.parametrize("operator", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_what_the_runtime_has_in_the_standard_domain_passes(tmp_path: Path, operator: str) -> None:
    """As its optimiser and many exporters write it, though the standard has it later or not at all; and it runs."""
    node = helper.make_node(operator, ["x", "scale"], ["y"], axis=-1)
    graph = helper.make_graph(
        [node],
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.ones(4, np.float32), "scale")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    assert verify(write(tmp_path, made)).opset == 14
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"x": np.ones((2, 4), np.float32)})[0]).all()
    made.graph.node.append(helper.make_node("Frobnicate", ["y"], ["z"]))
    assert reason(write(tmp_path / "other", made)) == "operator_unknown"


def normed(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A layer normalisation of before its standard, with these nodes behind it."""
    graph = helper.make_graph(
        [helper.make_node("LayerNormalization", ["x", "scale"], ["n"], axis=-1), *nodes],
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.ones(4, np.float32), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def test_the_rest_of_a_file_with_the_runtimes_own_operators_is_checked(tmp_path: Path) -> None:
    """Its order, its attributes and its weights, also where these lie in another file or in a branch."""
    whole = normed(helper.make_node("Relu", ["n"], ["y"]))
    assert verify(write(tmp_path / "whole", whole)).opset == 14
    external = normed(helper.make_node("Relu", ["n"], ["y"]))
    onnx.external_data_helper.convert_model_to_external_data(external, location="weights", size_threshold=0)
    (tmp_path / "external").mkdir()
    onnx.save(external, tmp_path / "external" / "model.onnx")
    assert verify(tmp_path / "external").opset == 14
    unsorted = normed(helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Identity", ["n"], ["h"]))
    assert reason(write(tmp_path / "unsorted", unsorted)) == "checker_failed"
    odd = normed(helper.make_node("Relu", ["n"], ["y"], slope=1.0))
    assert reason(write(tmp_path / "odd", odd)) == "checker_failed"
    empty = normed(helper.make_node("Relu", ["n"], ["y"]))
    empty.graph.initializer[0].ClearField("raw_data")
    assert reason(write(tmp_path / "empty", empty)) == "checker_failed"


def test_an_operator_newer_than_the_opset_is_refused(tmp_path: Path) -> None:
    """Gelu came with opset 20: it does not exist in 17."""
    assert reason(write(tmp_path, node_model(helper.make_node("Gelu", ["x"], ["y"])))) == "operator_unknown"


def test_an_unknown_operator_in_a_subgraph_is_refused(tmp_path: Path) -> None:
    """The branches of an If are looked into."""
    branch = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["b"])], "b", [], [value("b")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [value("x"), value("c", (), TensorProto.BOOL)], [value("y")])
    assert reason(write(tmp_path, model(graph))) == "operator_unknown"


@pytest.mark.parametrize("domain", ["com.example", "ai.onnx.preview.training"])
def test_an_unknown_domain_is_refused(tmp_path: Path, domain: str) -> None:
    """Operators of somebody's own library cannot be run."""
    made = node_model(helper.make_node("Relu", ["x"], ["y"], domain=domain))
    made.opset_import.append(helper.make_opsetid(domain, 1))
    assert reason(write(tmp_path, made)) == "operator_unknown"


def test_an_unused_unknown_domain_is_no_harm(tmp_path: Path) -> None:
    """Converters import domains that they do not use."""
    made = linear()
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    assert verify(write(tmp_path, made)).opset == 17


def test_the_runtimes_own_operators_pass(tmp_path: Path) -> None:
    """Operators of com.microsoft are left for the session to judge."""
    made = node_model(helper.make_node("FusedGemm", ["x", "x"], ["y"], domain="com.microsoft"))
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert verify(write(tmp_path, made)).inputs[0].name == "x"


def test_functions_of_the_model_pass(tmp_path: Path) -> None:
    """An operator that the file itself defines exists."""
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [opset])
    made = node_model(helper.make_node("Twice", ["x"], ["y"], domain="own"))
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert verify(write(tmp_path, made)).outputs[0].name == "y"


def test_an_unknown_operator_in_a_function_is_refused(tmp_path: Path) -> None:
    """The bodies of the model's functions are looked into."""
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Frobnicate", ["a"], ["b"])], [opset])
    made = node_model(helper.make_node("F", ["x"], ["y"], domain="own"))
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert reason(write(tmp_path, made)) == "operator_unknown"


def test_names_that_come_twice_are_refused(tmp_path: Path) -> None:
    """Two inputs of one name cannot be told apart by a client."""
    made = linear()
    made.graph.input.append(value("x"))
    assert reason(write(tmp_path, made)) == "duplicate_names"
    made = linear()
    made.graph.initializer.append(weights("w"))
    assert reason(write(tmp_path, made)) == "duplicate_names"


def test_a_broken_graph_is_refused(tmp_path: Path) -> None:
    """onnx.checker has the last word: here an input of a node that nobody makes."""
    assert reason(write(tmp_path, node_model(helper.make_node("Add", ["x", "absent"], ["y"])))) == "checker_failed"


def test_a_cyclic_graph_is_refused(tmp_path: Path) -> None:
    """Nodes out of order are refused."""
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    assert reason(write(tmp_path, node_model(*nodes, helper.make_node("Relu", ["b"], ["y"])))) == "checker_failed"


def test_no_inputs_are_refused(tmp_path: Path) -> None:
    """A model that takes nothing cannot be asked anything."""
    graph = helper.make_graph([helper.make_node("Relu", ["w"], ["y"])], "g", [], [value("y", (3, 3))], [weights()])
    assert reason(write(tmp_path, model(graph))) == "io_unsupported"


def _typed(declared: onnx.TypeProto) -> onnx.ModelProto:
    info = helper.make_value_info("x", declared)
    out = helper.make_value_info("y", declared)
    return model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [info], [out]))


@pytest.mark.parametrize(
    "declared",
    [
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1])),
        helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1])),
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [1])),
        helper.make_tensor_type_proto(TensorProto.COMPLEX64, [1]),
        helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, [1]),
        helper.make_tensor_type_proto(TensorProto.INT4, [1]),
    ],
    ids=["sequence", "optional", "map", "complex", "float8", "int4"],
)
def test_types_without_a_place_in_the_protocol_are_refused(tmp_path: Path, declared: onnx.TypeProto) -> None:
    """Sequences, maps, optionals, complex and packed numbers cannot be sent."""
    assert reason(write(tmp_path, _typed(declared))) == "io_unsupported"


def test_an_unknown_rank_is_refused(tmp_path: Path) -> None:
    """An input with no shape at all cannot be checked against a request."""
    made = linear()
    made.graph.input[0].type.tensor_type.ClearField("shape")
    assert reason(write(tmp_path, made)) in ("io_unsupported", "checker_failed")


def test_a_negative_dimension_is_refused(tmp_path: Path) -> None:
    """A fixed size below zero is nonsense."""
    made = linear()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -4
    assert reason(write(tmp_path, made)) in ("io_unsupported", "checker_failed")


def test_the_runtime_is_not_imported(tmp_path: Path) -> None:
    """Verification never loads onnxruntime, and importing the module does not load onnx."""
    write(tmp_path, linear())
    code = (
        "import sys; from pathlib import Path; from changeover.lifecycle.verify import verify\n"
        "assert 'onnx' not in sys.modules; verify(Path(sys.argv[1])); assert 'onnxruntime' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_operators_of_ones_own_are_the_session_s_to_know(tmp_path: Path) -> None:
    """Those of a domain that nobody knows and the model imports; without libraries, and of known domains: refused."""
    own = node_model(helper.make_node("Own", ["x"], ["y"], domain="my.ops"))
    own.opset_import.append(helper.make_opsetid("my.ops", 1))
    assert reason(write(tmp_path / "own", own)) == "operator_unknown"
    assert verify(tmp_path / "own", custom_ops=True).outputs[0].name == "y"
    for name, domain in (("unimported", "my.ops"), ("standard", "")):
        folder = write(tmp_path / name, node_model(helper.make_node("Own", ["x"], ["y"], domain=domain)))
        with pytest.raises(ModelRejected) as caught:
            verify(folder, custom_ops=True)
        assert caught.value.reason == "operator_unknown"
