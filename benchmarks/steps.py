"""A worker's part of a step: 256 sequences in one message against one message each, without a gateway.

    python benchmarks/steps.py

Gathering from the slab, the run, and committing to it; two models, a running sum and an LSTM with 128 cells.
Alternating rounds in one process, best of each; the gateway's end of the channel is the tests'.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from changeover.sequences.declared import Declared, StateDeclared
from changeover.sequences.saved import Flag
from changeover.transport.channel import ChannelSize
from rig import emit, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.worker import sequence_parts
from tests.worker.sequence_parts import Gateway, ask, load, memory

SEQUENCES = 256
ROUNDS = 9
RATIO = 3.0
CELLS = 128
FEATURES = 64
LSTM = Declared((StateDeclared("h", "hn"), StateDeclared("c", "cn")))


def lstm() -> onnx.ModelProto:
    """One step of an LSTM a run, rows free."""
    chance = np.random.default_rng(0)
    weights = {
        "W": chance.normal(0, 0.1, (1, 4 * CELLS, FEATURES)).astype(np.float32),
        "R": chance.normal(0, 0.1, (1, 4 * CELLS, CELLS)).astype(np.float32),
        "B": np.zeros((1, 8 * CELLS), np.float32),
        "first": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["x", "first"], ["x1"]),
        helper.make_node("LSTM", ["x1", "W", "R", "B", "", "h", "c"], ["", "hn", "cn"], hidden_size=CELLS),
        helper.make_node("Squeeze", ["hn", "first"], ["y"]),
    ]
    names = {"x": ["N", FEATURES], "h": [1, "N", CELLS], "c": [1, "N", CELLS]}
    names |= {"y": ["N", CELLS], "hn": [1, "N", CELLS], "cn": [1, "N", CELLS]}
    values = {n: helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n, shape in names.items()}
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [values[n] for n in "xhc"], [values[n] for n in ("y", "hn", "cn")], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def measured(name: str, model: onnx.ModelProto, declared: Declared, columns: int) -> None:
    """Time a step both ways."""
    rows = np.random.default_rng(1).random((SEQUENCES, columns), np.float32)
    ids, numbers = [f"s{at}" for at in range(SEQUENCES)], count(1)
    with tempfile.TemporaryDirectory() as folder:
        session = load(Path(folder), model, declared)
        gateway = Gateway(session, memory(session.layout.geometry))
        begin = next(numbers)
        gateway.step([ask(one, begin, Flag.START) for one in ids], rows)

        def batched() -> None:
            number = next(numbers)
            gateway.step([ask(one, number) for one in ids], rows)

        def alone() -> None:
            number = next(numbers)
            for at, one in enumerate(ids):
                gateway.step([ask(one, number)], rows[at : at + 1])

        together, single = zip(*((timed(batched), timed(alone)) for _ in range(ROUNDS)), strict=True)
        gateway.close()
    ratio = min(single) / min(together)
    emit(
        "sequence_steps", met=ratio >= RATIO, model=name, sequences=SEQUENCES, ratio=round(ratio, 2),
        batched_us=round(min(together) / SEQUENCES * 1e6, 1), alone_us=round(min(single) / SEQUENCES * 1e6, 1),
    )  # fmt: skip
    say(f"{name}: a step takes {min(together) / SEQUENCES * 1e6:.0f} µs in a batch, {ratio:.1f} times as long alone")


def timed(act: Callable[[], None]) -> float:
    """Seconds of one round."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> int:
    """Both models."""
    sequence_parts.SIZE = ChannelSize(2, 1 << 20, 1 << 20)
    summed = msgspec.structs.replace(sequence_parts.SUM, max=1024)
    measured("sum", sequence_parts.running_sum(), summed, 4)
    measured("lstm", lstm(), LSTM, FEATURES)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
