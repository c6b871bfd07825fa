"""Train the two models of the demo and write them, with held-out samples, into the package.

Run from the repository root, with the dependency group `train` installed:

    python training/train_digits.py

The data are scikit-learn's `load_digits`: 1,797 real handwritten digits of 8 by 8 pixels (UCI optical
recognition of handwritten digits, test part), scaled here to 28 by 28. 300 of them are held out. Version 1
is a small network trained on 240 images; version 2 a larger one trained on all the others, each shifted a
little anew in every pass. All seeds are fixed: a second run on the same machine gives the same files. The
accuracy is measured through onnxruntime on the written files and kept in `accuracy.json` beside this script.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import of onnxruntime: it reports at import

import numpy as np
import onnx
import onnxruntime
from lenet import Adam, Array, Conv, Dense, Layer, MaxPool, Relu, predict, train_step
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "changeover" / "demo"
ACCURACY = Path(__file__).resolve().parent / "accuracy.json"
HELD_OUT = 300
SIZE = 28
OPSET = 17
IR_VERSION = 8  # the one of opset 17: every onnxruntime of the last years reads it

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version is built and trained.

    Attributes:
        images: number of training images used, from the front of the training part.
        epochs: passes over them.
        shift: largest shift in pixels of an image in a pass; 0 leaves the images as they are.
        filters: filters of the two convolutions.
        hidden: size of the hidden dense layer; 0 leaves it out.
    """

    version: str
    images: int
    epochs: int
    shift: int
    filters: tuple[int, int]
    hidden: int


RECIPES = (
    Recipe(version="1", images=240, epochs=60, shift=0, filters=(4, 8), hidden=0),
    Recipe(version="2", images=1497, epochs=24, shift=2, filters=(8, 16), hidden=64),
)


def load_images() -> tuple[Images, Labels]:
    """Return all digits as [1797, 28, 28], values 0-255, and their labels, in one fixed shuffled order."""
    digits = load_digits()
    small = digits.images.astype(np.float64) * (255.0 / 16.0)
    weights = bilinear(small.shape[1], SIZE)
    large = np.clip(np.rint(weights @ small @ weights.T), 0, 255).astype(np.uint8)
    order = np.random.default_rng(28).permutation(len(large))
    return large[order], digits.target.astype(np.int64)[order]


def bilinear(source: int, target: int) -> NDArray[np.float64]:
    """Return the [target, source] matrix that stretches one axis by linear interpolation (pixel centres)."""
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    left = np.minimum(centres.astype(int), source - 2)
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    matrix[rows, left] = 1 - (centres - left)
    matrix[rows, left + 1] = centres - left
    return matrix


def build(recipe: Recipe, rng: np.random.Generator) -> list[Layer]:
    """Return the untrained network: two convolutions with pooling, then one or two dense layers."""
    first, second = recipe.filters
    flat = second * 4 * 4  # 28 -> 24 -> 12 -> 8 -> 4
    layers: list[Layer] = [Conv(rng, 1, first, 5), Relu(), MaxPool()]
    layers += [Conv(rng, first, second, 5), Relu(), MaxPool()]
    if recipe.hidden:
        layers += [Dense(rng, flat, recipe.hidden), Relu(), Dense(rng, recipe.hidden, 10)]
    else:
        layers += [Dense(rng, flat, 10)]
    return layers


def shifted(images: Images, most: int, rng: np.random.Generator) -> Images:
    """Return a copy with each image moved by up to `most` pixels along both axes, edges filled with 0."""
    if most == 0:
        return images
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    moves = rng.integers(0, 2 * most + 1, (len(images), 2))
    return np.stack([p[y : y + SIZE, x : x + SIZE] for p, (y, x) in zip(padded, moves, strict=True)])


def as_input(images: Images) -> Array:
    """Return what the network behind the scaling node sees: [n, 1, 28, 28], values 0-1."""
    return images[:, None].astype(np.float32) / np.float32(255)


def train(recipe: Recipe, images: Images, labels: Labels) -> list[Layer]:
    """Train one version and return its layers."""
    rng = np.random.default_rng(int(recipe.version))
    layers = build(recipe, rng)
    optimiser = Adam(layers, rate=2e-3)
    images, labels = images[: recipe.images], labels[: recipe.images]
    for epoch in range(recipe.epochs):
        optimiser.rate = 2e-3 * (1 - epoch / recipe.epochs) + 1e-4
        batch = as_input(shifted(images, recipe.shift, rng))
        for rows in np.array_split(rng.permutation(len(batch)), max(1, len(batch) // 48)):
            train_step(layers, optimiser, batch[rows], labels[rows])
    return layers


def to_onnx(recipe: Recipe, layers: list[Layer]) -> onnx.ModelProto:
    """Write the trained layers as ONNX nodes, behind a node that scales pixels 0-255 to 0-1."""
    weights = [numpy_helper.from_array(np.array(1 / 255, np.float32), "pixel_scale")]
    nodes = [helper.make_node("Mul", ["image", "pixel_scale"], ["scaled"])]
    current, flattened = "scaled", False
    for i, layer in enumerate(layers):
        names = [f"{type(layer).__name__.lower()}_{i}_{part}" for part in ("weight", "bias")]
        if layer.parameters:
            weights += [numpy_helper.from_array(p, n) for p, n in zip(layer.parameters, names, strict=True)]
        if isinstance(layer, Dense) and not flattened:
            nodes.append(helper.make_node("Flatten", [current], ["flat"], axis=1))
            current, flattened = "flat", True
        output = "scores" if i == len(layers) - 1 else f"value_{i}"
        nodes.append(to_node(layer, [current, *names], output))
        current = output
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [image], [scores], weights)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="changeover", opset_imports=opset, ir_version=IR_VERSION)
    model.model_version = int(recipe.version)
    onnx.checker.check_model(model, full_check=True)
    return model


def to_node(layer: Layer, inputs: list[str], output: str) -> onnx.NodeProto:
    """Return the ONNX node of one layer; `inputs` are its value, its weight and its bias."""
    if isinstance(layer, Conv):
        return helper.make_node("Conv", inputs, [output], kernel_shape=[5, 5])
    if isinstance(layer, Dense):
        return helper.make_node("Gemm", inputs, [output], transB=1)
    if isinstance(layer, MaxPool):
        return helper.make_node("MaxPool", inputs[:1], [output], kernel_shape=[2, 2], strides=[2, 2])
    return helper.make_node("Relu", inputs[:1], [output])


def through_onnxruntime(path: Path, images: Images) -> Array:
    """Return the scores the written file gives images with values 0-255, run one by one."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    rows = images[:, None].astype(np.float32)
    return np.concatenate([session.run(["scores"], {"image": row[None]})[0] for row in rows])


def main() -> None:
    """Train both versions, write the files, print and keep the measured accuracy."""
    images, labels = load_images()
    test_images, test_labels = images[:HELD_OUT], labels[:HELD_OUT]
    samples: dict[str, NDArray[np.generic]] = {"images": test_images, "labels": test_labels.astype(np.uint8)}
    figures: dict[str, object] = {"test_images": HELD_OUT, "test_part": "first 300 of the shuffled 1,797"}
    for recipe in RECIPES:
        started = time.monotonic()
        layers = train(recipe, images[HELD_OUT:], labels[HELD_OUT:])
        path = PACKAGE / f"digits_v{recipe.version}.onnx"
        path.write_bytes(to_onnx(recipe, layers).SerializeToString(deterministic=True))
        scores = through_onnxruntime(path, test_images)
        gap = float(np.abs(scores - predict(layers, as_input(test_images))).max())
        if gap > 1e-2:
            raise SystemExit(f"{path.name}: the file and the trained network differ by {gap}")
        samples[f"scores_v{recipe.version}"] = scores
        figures[path.name] = {
            "test_accuracy": round(float((scores.argmax(axis=1) == test_labels).mean()), 4),
            "training_images": recipe.images,
            "parameters": sum(p.size for layer in layers for p in layer.parameters),
            "bytes": path.stat().st_size,
        }
        print(f"{path.name} ({time.monotonic() - started:.1f} s): {json.dumps(figures[path.name])}")
    np.savez_compressed(PACKAGE / "digits_samples.npz", **samples)  # type: ignore[arg-type]
    ACCURACY.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
