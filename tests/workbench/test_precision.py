"""A model in other precisions: what stays, what is refused, how right its answers are."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.errors import ModelRejected
from changeover.lifecycle.verify import verify
from changeover.runtime import quantizing
from changeover.runtime.session import Array, open_level
from changeover.workbench import precision
from changeover.workbench.precision import PRECISIONS, converted
from tests import onnx_models, sequence_models

REDUCED = PRECISIONS[1:]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "digits.onnx"
    made = onnx.load_model_from_string(digits.model_bytes("1"))
    made.metadata_props.add(key="classes", value="0,1,2,3,4,5,6,7,8,9")
    made.producer_name = "a trainer"
    onnx.save(made, place)
    return place


@pytest.fixture
def rows() -> list[list[Array]]:
    return [[image[None]] for image in digits.load_samples().inputs()[:40]]


def mnist_images(data_folder: Path, most: int) -> tuple[Array, Array]:
    """The first real ones, as the model takes them, and what they show."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((data_folder / "mnist" / name).read_bytes()), np.uint8)
        for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    )
    return pixels[16 : 16 + most * 784].reshape(-1, 1, 28, 28).astype(np.float32), labels[8 : 8 + most]


def share_right(path: Path, images: Array, labels: Array, size: int) -> float:
    session = open_level(str(path), "all")
    chunks = [images[at : at + size] for at in range(0, len(images), size)]
    answers = np.concatenate([session.run([chunk])[0].argmax(1) for chunk in chunks])
    return float((answers == labels).mean())


def verified(path: Path) -> onnx.ModelProto:
    folder = path.parent / f"{path.stem}-version"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(path.read_bytes())
    verify(folder)
    return onnx.load(path)


@pytest.mark.parametrize("name", REDUCED)
def test_the_digits(path: Path, rows: list[list[Array]], name: str) -> None:
    """Inputs, outputs and metadata are the same, the file is smaller, the gate takes it, and the digits are right."""
    target = path.with_name("made.onnx")
    converted(path, name, target, rows)
    old, new = onnx.load(path), verified(target)
    assert list(new.graph.input) == list(old.graph.input)
    assert list(new.graph.output) == list(old.graph.output)
    assert list(new.metadata_props) == list(old.metadata_props)
    assert new.producer_name == "a trainer"
    assert target.stat().st_size < 0.9 * path.stat().st_size
    samples = digits.load_samples()
    before, after = (share_right(one, samples.inputs(), samples.labels, 50) for one in (path, target))
    assert after >= before - 0.02


def test_the_very_same_file(path: Path) -> None:
    """FP32 is the model as it is, to the last bit."""
    converted(path, "fp32", path.with_name("same.onnx"), [])
    assert path.with_name("same.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", REDUCED)
def test_the_classic_mnist(data_folder: Path, tmp_path: Path, name: str) -> None:
    """A file of 2018, whose weights are inputs and whose bias has two dimensions: as right on real images as it was."""
    images, labels = mnist_images(data_folder, 500)
    source, target = data_folder / "mnist" / "mnist-8.onnx", tmp_path / "made.onnx"
    converted(source, name, target, [[images[at : at + 1]] for at in range(400, 500)])
    made = verified(target)
    assert [value.name for value in made.graph.input] == ["Input3"]
    before, after = (share_right(one, images[:400], labels[:400], 1) for one in (source, target))
    assert before > 0.97
    assert after >= before - 0.01


@pytest.mark.parametrize("name", REDUCED)
def test_an_lstm(tmp_path: Path, name: str) -> None:
    """Its answers and next states stay close to those of the model as it was trained."""
    source, target = tmp_path / "lstm.onnx", tmp_path / "made.onnx"
    source.write_bytes(sequence_models.forecast("lstm"))
    generator = np.random.default_rng(5)
    states = [generator.normal(0, 0.3, (1, 1, 32)).astype(np.float32) for _ in range(2)]
    feeds = [[generator.normal(0, 1, (1, 1)).astype(np.float32), *states] for _ in range(20)]
    converted(source, name, target, feeds)
    verified(target)
    wanted, given = (open_level(str(one), "all").run(feeds[0]) for one in (source, target))
    for mine, theirs in zip(given, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.05)


def test_weights_beside_the_model(path: Path, rows: list[list[Array]]) -> None:
    """They come into the file that is written, in each precision."""
    apart = path.with_name("apart.onnx")
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="apart.data", size_threshold=0)
    for name in PRECISIONS:
        target = path.with_name(f"{name}.onnx")
        converted(apart, name, target, rows)
        alone = path.parent / "elsewhere" / "model.onnx"
        alone.parent.mkdir(exist_ok=True)
        target.replace(alone)
        assert open_level(str(alone), "all").run(rows[0])[0].shape == (1, 10)


@pytest.mark.parametrize("name", REDUCED)
def test_what_cannot_be_converted(tmp_path: Path, rows: list[list[Array]], name: str) -> None:
    """Sums of whole numbers have nothing to reduce: said in a sentence, and no file is written."""
    source, target = tmp_path / "sums.onnx", tmp_path / "made.onnx"
    source.write_bytes(onnx_models.add_sub().SerializeToString())
    with pytest.raises(ModelRejected, match=f"no operator that can be {name}") as caught:
        converted(source, name, target, [[np.ones((1, 16), np.int32)] * 2])
    assert caught.value.reason == "precision_unsupported"
    assert not target.exists()


def test_answers_that_are_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that lost the numbers is refused; the control is the same one that did not."""
    source, target, halved = tmp_path / "m.onnx", tmp_path / "made.onnx", quantizing.halved
    source.write_bytes(onnx_models.scale(3).SerializeToString())

    def broken(model: onnx.ModelProto) -> onnx.ModelProto:
        made = halved(model)
        made.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(np.inf, np.float16), "f"))
        return made

    converted(source, "fp16", target, [])
    monkeypatch.setattr(quantizing, "halved", broken)
    with pytest.raises(ModelRejected, match="infinite, or no number") as caught:
        converted(source, "fp16", target, [])
    assert caught.value.reason == "precision_unsupported"


def test_too_large_a_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit into one file is refused, with that as the reason; as FP32 its weights stay beside it."""
    apart = path.with_name("apart.onnx")
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="apart.data", size_threshold=0)
    monkeypatch.setattr(precision, "_MOST_BYTES", 1000)
    with pytest.raises(ModelRejected, match="over 2 GiB") as caught:
        converted(apart, "fp16", path.with_name("made.onnx"), [])
    assert caught.value.reason == "precision_unsupported"
    converted(apart, "fp32", path.with_name("made.onnx"), [])
    assert path.with_name("made.onnx.data").is_file()


def test_samples_of_another_model(path: Path, rows: list[list[Array]]) -> None:
    """No samples, too few inputs, another shape, another type: told which, and never guessed."""
    wrong = {
        "there are none": [],
        "sample 1 has 2 arrays": [rows[0], [*rows[0], *rows[0]]],
        r"sample 0 brings float32\[1, 4\]": [[np.ones((1, 4), np.float32)]],
        "sample 0 brings uint8": [[rows[0][0].astype(np.uint8)]],
    }
    for sentence, samples in wrong.items():
        with pytest.raises(ModelRejected, match=sentence) as caught:
            converted(path, "int8_static", path.with_name("made.onnx"), samples)
        assert caught.value.reason == "no_calibration"


def test_no_such_precision(path: Path) -> None:
    """A word that names none is refused with those that there are."""
    with pytest.raises(ModelRejected, match="fp32, int8_dynamic") as caught:
        converted(path, "int4", path.with_name("made.onnx"), [])
    assert caught.value.reason == "precision_unsupported"


def test_nothing_is_left(
    path: Path,
    rows: list[list[Array]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No temporary file, no line of the tools' log, no heavy library; logging is as it was."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for name in REDUCED:
        converted(path, name, tmp_path / "made.onnx", rows)
    assert list(scratch.iterdir()) == []
    assert Counter(record.name for record in caplog.records) == {}
    assert {"torch", "sympy"}.isdisjoint(sys.modules)
    assert logging.root.manager.disable == logging.NOTSET
    assert {file.name for file in tmp_path.iterdir()} == {"digits.onnx", "made.onnx", "scratch"}


@pytest.mark.parametrize("name", ["int8_dynamic", "fp32"])
def test_a_full_disk_leaves_what_was_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The target may be the model itself, or lie in a repository: it is replaced by a whole file, or not at all."""
    target = tmp_path / "target" / "model.onnx"
    target.parent.mkdir()
    target.write_bytes(b"before")
    whole = Path.write_bytes

    def full(place: Path, data: bytes) -> int:
        whole(place, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            converted(path, name, target, [])
    assert [(one, one.read_bytes()) for one in target.parent.iterdir()] == [(target, b"before")]
    converted(path, name, target, [])
    assert list(target.parent.iterdir()) == [target]
    assert open_level(str(target), "all").inputs


def test_a_model_may_be_its_own_target(path: Path) -> None:
    """Of the same precision it stays as it is."""
    before = path.read_bytes()
    converted(path, "fp32", path, [])
    assert path.read_bytes() == before


KILLED = """
import os, sys
from pathlib import Path
from changeover.workbench import precision
precision._made = lambda *_: os.kill(os.getpid(), 9)
precision.converted(Path(sys.argv[1]), "fp16", Path("unused"), [])
"""


def test_what_a_killed_conversion_leaves_goes_with_the_next(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuner kills those that hang."""
    room = tmp_path / "temporary"
    room.mkdir()
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, env={**os.environ, "TMPDIR": str(room)}, check=False).returncode == -9
    assert len(list(room.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(room))
    converted(path, "fp16", tmp_path / "fp16.onnx", [])
    assert list(room.iterdir()) == []


def test_half_a_file_of_a_killed_conversion_goes_with_the_next(path: Path) -> None:
    """Beside the target, whatever it is called; a living process keeps its own, and so do all other files."""
    target = path.with_name("m[1].onnx")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = {f".m[1].onnx.{os.getppid()}.half", f".m[1].onnx.{ended.pid}", ".m[1].onnx.old.half", f".x.{ended.pid}.half"}
    for name in (*kept, f".m[1].onnx.{ended.pid}.half"):
        path.with_name(name).write_bytes(b"half")
    converted(path, "fp32", target, [])
    assert {one.name for one in path.parent.iterdir()} == {*kept, path.name, target.name}


@pytest.mark.parametrize("mode", [0o600, 0o444])
def test_a_replaced_file_keeps_its_mode(path: Path, mode: int) -> None:
    """A model that nobody else may read stays one."""
    path.chmod(mode)
    converted(path, "fp16", path, [])
    assert path.stat().st_mode & 0o777 == mode
