"""The models that both servers get: Triton's examples where they are at hand, and small ones made here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto, helper

EXAMPLES = ("simple", "simple_int8", "simple_string")
_CONFIG_TYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.BOOL: "BOOL",
    TensorProto.INT64: "INT64",
    TensorProto.STRING: "STRING",
    TensorProto.DOUBLE: "FP64",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT16: "INT16",
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model as both servers get it.

    Attributes:
        config: its `config.pbtxt`, as for ONNX Runtime.
        beside: further files of its folder.
    """

    name: str
    file: bytes
    config: str
    beside: tuple[tuple[str, bytes], ...] = ()

    def lay(self, repository: Path) -> Path:
        """Put it into a repository as version 1; return the version's folder."""
        folder = repository / self.name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(self.file)
        (folder.parent / "config.pbtxt").write_text(self.config)
        for name, data in self.beside:
            (folder.parent / name).write_bytes(data)
        return folder


def models() -> list[Model]:
    """All of them.

    Raises:
        FileNotFoundError: the test data is not at hand.
    """
    folder = Path(os.environ.get("CHANGEOVER_TEST_DATA", "test-data")) / "triton_examples"
    examples = [_example(folder / name) for name in EXAMPLES]
    return [
        *examples,
        _identity("half", TensorProto.FLOAT16),
        _identity("brain", TensorProto.BFLOAT16),
        _identity("flags", TensorProto.BOOL),
        _identity("wide", TensorProto.INT64),
        _identity("text", TensorProto.STRING),
        _identity("passing", TensorProto.FLOAT),
        _scores(),
        _mixed(),
        _numbers(),
        _picky(),
    ]


def _example(folder: Path) -> Model:
    config = (folder / "config.pbtxt").read_text()
    lines = [line for line in config.splitlines() if not line.startswith("#")]
    return Model(folder.name, (folder / "1" / "model.onnx").read_bytes(), "\n".join(lines) + "\n")


def _identity(name: str, kind: int) -> Model:
    """`y = x`, [N, 4], not batched by the server."""
    return _made(name, [helper.make_node("Identity", ["x"], ["y"])], {"x": (kind, [-1, 4])}, {"y": (kind, [-1, 4])})


def _scores() -> Model:
    """`y = x`, FP32 [N, 4] in batches of up to 4, with labels."""
    ends = ({"x": (TensorProto.FLOAT, [4])}, {"y": (TensorProto.FLOAT, [4])})
    made = _made("scores", [helper.make_node("Identity", ["x"], ["y"])], *ends, batch=4)
    config = made.config.replace('name: "y"', 'name: "y" label_filename: "labels.txt"')
    return Model("scores", made.file, config, (("labels.txt", b"ant\nbee\ncat\ndog\n"),))


def _mixed() -> Model:
    """Two inputs of two datatypes, handed on."""
    nodes = [helper.make_node("Identity", ["number"], ["same_number"])]
    nodes.append(helper.make_node("Identity", ["word"], ["same_word"]))
    number, word = (TensorProto.FLOAT, [-1, 3]), (TensorProto.STRING, [-1, 2])
    return _made("mixed", nodes, {"number": number, "word": word}, {"same_number": number, "same_word": word})


def _numbers() -> Model:
    """The datatypes that no other model has, each handed on under its name with `same_` before it."""
    kinds = [TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64]
    inputs = {_CONFIG_TYPES[kind].lower(): (kind, [-1, 2]) for kind in (*kinds, TensorProto.INT16)}
    nodes = [helper.make_node("Identity", [name], [f"same_{name}"]) for name in inputs]
    return _made("numbers", nodes, inputs, {f"same_{name}": end for name, end in inputs.items()})


def _picky() -> Model:
    """Fails at run time for an index that is not from -4 to 3."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [4], [10.0, 11.0, 12.0, 13.0])
    nodes = [helper.make_node("Constant", [], ["t"], value=table), helper.make_node("Gather", ["t", "x"], ["y"])]
    return _made("picky", nodes, {"x": (TensorProto.INT64, [-1])}, {"y": (TensorProto.FLOAT, [-1])})


Ends = dict[str, tuple[int, list[int]]]


def _made(name: str, nodes: list[object], inputs: Ends, outputs: Ends, batch: int = 0) -> Model:
    def info(ends: Ends) -> list[object]:
        first = ["N"] if batch else []
        dims = {k: [*first, *("N" if d < 0 else d for d in dims)] for k, (_, dims) in ends.items()}
        return [helper.make_tensor_value_info(k, kind, dims[k]) for k, (kind, _) in ends.items()]

    def told(what: str, ends: Ends) -> str:
        rows = [
            f'  {{ name: "{k}" data_type: TYPE_{_CONFIG_TYPES[kind]} dims: [ {", ".join(map(str, dims))} ] }}'
            for k, (kind, dims) in ends.items()
        ]
        return f"{what} [\n" + ",\n".join(rows) + "\n]\n"

    graph = helper.make_graph(nodes, name, info(inputs), info(outputs))
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    config = f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: {batch}\n'
    return Model(name, file, config + told("input", inputs) + told("output", outputs))
