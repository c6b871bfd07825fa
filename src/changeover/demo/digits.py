"""The digit models of the demo: where they are, what they must answer, and how to break one.

Input `image`: FP32 [-1, 1, 28, 28], pixel values 0-255. Output `scores`: FP32 [-1, 10], one logit a digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

MODEL = "digits"
INPUT = "image"
OUTPUT = "scores"
VERSIONS = ("1", "2")


@dataclass(frozen=True, slots=True)
class Samples:
    """Held-out digits, which no version was trained on.

    Attributes:
        images: uint8 [300, 28, 28].
        labels: uint8 [300].
        scores: by version, the float32 [300, 10] that onnxruntime gave when the models were made. Another
            machine or another batch size may differ in the last bits: compare with a tolerance of 1e-3.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    scores: dict[str, NDArray[np.float32]]

    def inputs(self) -> NDArray[np.float32]:
        """The images as the models take them, [300, 1, 28, 28]."""
        return self.images[:, None].astype(np.float32)


def model_bytes(version: str) -> bytes:
    """Return the ONNX file of version "1" or "2"."""
    return files(__package__).joinpath(f"digits_v{version}.onnx").read_bytes()


def load_samples() -> Samples:
    """Return the held-out digits and the answers of both versions."""
    with files(__package__).joinpath("digits_samples.npz").open("rb") as stream, np.load(stream) as data:
        scores = {version: data[f"scores_v{version}"] for version in VERSIONS}
        return Samples(images=data["images"], labels=data["labels"], scores=scores)


def make_broken(model: bytes) -> bytes:
    """Return `model` with weights that are no numbers, as a diverged training run leaves them behind.

    The file is valid and its inputs and outputs are the same: only a run shows that every answer is NaN.
    """
    proto = onnx.load_model_from_string(model)
    largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.full(tuple(largest.dims), np.nan, np.float32)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    return bytes(proto.SerializeToString(deterministic=True))


def make_mislabelled(model: bytes) -> bytes:
    """Return `model` with its classes in another order, as training with another list of labels leaves them behind.

    The file is valid, its inputs and outputs are the same, and every answer looks like one: only who knows the digits
    sees that a 3 is called a 4.
    """
    proto = onnx.load_model_from_string(model)
    last = proto.graph.node[-1].input[1:]  # weights and bias of the layer that gives the scores
    for tensor in proto.graph.initializer:
        if tensor.name in last:
            values = np.roll(numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return bytes(proto.SerializeToString(deterministic=True))
