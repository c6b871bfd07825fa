"""Models that others made: the MNIST network, and Triton's examples."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

from changeover.testing import Server

IMAGES = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Iterator[Server]:
    """A server that finds the models in its repository."""
    folder = tmp_path_factory.mktemp("real")
    for name in ("simple", "simple_int8", "simple_string", "identity"):
        shutil.copytree(data_folder / "triton_examples" / name, folder / "models" / name)
    (folder / "models" / "mnist" / "8").mkdir(parents=True)
    shutil.copy(data_folder / "mnist" / "mnist-8.onnx", folder / "models" / "mnist" / "8" / "model.onnx")
    with Server(folder) as made:
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """Triton's client."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}") as made:
        yield made


def test_mnist_is_as_accurate_as_published(client: triton.InferenceServerClient, data_folder: Path) -> None:
    """1,000 test images through the server: at least 98.5 % right."""
    mnist = data_folder / "mnist"
    pixels = gzip.decompress((mnist / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 1, 1, 28, 28)[:IMAGES].astype(np.float32)
    right = 0
    for image, label in zip(images, labels, strict=False):
        put = triton.InferInput("Input3", [1, 1, 28, 28], "FP32")
        put.set_data_from_numpy(image)
        scores = client.infer("mnist", [put]).as_numpy("Plus214_Output_0")
        right += int(scores.argmax()) == label
    assert right / IMAGES >= 0.985


@pytest.mark.parametrize(("model", "datatype"), [("simple", np.int32), ("simple_int8", np.int8)])
def test_tritons_simple_example(client: triton.InferenceServerClient, model: str, datatype: type) -> None:
    """OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1."""
    metadata = client.get_model_metadata(model)
    shape = [1 if d == -1 else d for d in metadata["inputs"][0]["shape"]]
    first, second = np.arange(16, dtype=datatype).reshape(shape), np.full(shape, 3, datatype)
    puts = []
    for entry, array in zip(metadata["inputs"], (first, second), strict=True):
        put = triton.InferInput(entry["name"], shape, entry["datatype"])
        put.set_data_from_numpy(array)
        puts.append(put)
    result = client.infer(model, puts)
    assert np.array_equal(result.as_numpy("OUTPUT0"), first + second)
    assert np.array_equal(result.as_numpy("OUTPUT1"), first - second)


def test_tritons_string_example(client: triton.InferenceServerClient) -> None:
    """The same with numbers as texts."""
    metadata = client.get_model_metadata("simple_string")
    shape = [1 if d == -1 else d for d in metadata["inputs"][0]["shape"]]
    puts = []
    for entry, values in zip(metadata["inputs"], (range(16), [1] * 16), strict=True):
        put = triton.InferInput(entry["name"], shape, "BYTES")
        put.set_data_from_numpy(np.array([str(v).encode() for v in values], object).reshape(shape))
        puts.append(put)
    result = client.infer("simple_string", puts)
    assert [int(v) for v in result.as_numpy("OUTPUT0").reshape(-1)] == [v + 1 for v in range(16)]
    assert [int(v) for v in result.as_numpy("OUTPUT1").reshape(-1)] == [v - 1 for v in range(16)]


def test_tritons_identity_example(client: triton.InferenceServerClient) -> None:
    """What goes in comes out."""
    metadata = client.get_model_metadata("identity")
    entry = metadata["inputs"][0]
    shape = [3 if d == -1 else d for d in entry["shape"]]
    array = np.arange(np.prod(shape)).astype(str).astype(object).reshape(shape)
    put = triton.InferInput(entry["name"], shape, entry["datatype"])
    put.set_data_from_numpy(array)
    result = client.infer("identity", [put])
    texts = [v.decode() for v in result.as_numpy(metadata["outputs"][0]["name"]).reshape(-1)]
    assert texts == list(array.reshape(-1))
