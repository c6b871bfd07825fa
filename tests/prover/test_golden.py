"""Golden sets in both forms, and what is wrong with bad ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from changeover.errors import ModelRejected
from changeover.prover import course, golden
from changeover.tensors import Datatype, TensorSpec

X = TensorSpec("x", Datatype.FP32, (-1, 4))
Y = TensorSpec("y", Datatype.FP32, (-1, 4))
ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)


def load(folder: Path, inputs: TensorSpec = X) -> golden.GoldenSet:
    return golden.load(folder, [inputs], [Y])


def test_the_first_folder_counts(tmp_path: Path) -> None:
    """The version's own before the model's; none is no set."""
    (tmp_path / "b").mkdir()
    assert golden.find([str(tmp_path / "a"), str(tmp_path / "b")]) == tmp_path / "b"
    assert golden.find([str(tmp_path / "a")]) is None


def test_labels_in_several_files(tmp_path: Path) -> None:
    """One set, with a digest over all of it; other kinds of numbers become what the model takes."""
    for part in range(2):
        rows = ROWS[part * 5 : part * 5 + 5].astype(np.float64)
        np.savez(tmp_path / f"{part}.npz", x=rows, labels=np.arange(5)[:, None] + 5 * part)
    made = load(tmp_path)
    assert (made.samples, made.labels, made.whole) == (10, list(range(10)), False)
    assert made.inputs["x"][7].dtype == np.float32
    assert np.array_equal(made.inputs["x"][7], ROWS[7])
    before = made.digest
    np.savez(tmp_path / "1.npz", x=ROWS, labels=np.arange(10)[:, None])
    assert load(tmp_path).digest != before


def test_batches_hold_every_sample_once(tmp_path: Path) -> None:
    """Shuffled alike each time, so that any part of it is a random sample."""
    np.savez(tmp_path / "a.npz", x=ROWS, y=2 * ROWS)
    made = load(tmp_path)
    parts = list(golden.batches(made, [X], 4))
    assert [len(part.samples) for part in parts] == [4, 4, 2]
    chosen = [sample for part in parts for sample in part.samples]
    assert sorted(chosen) == list(range(10))
    assert chosen != sorted(chosen)
    assert [part.samples for part in golden.batches(made, [X], 4)] == [part.samples for part in parts]
    for part in parts:
        assert np.array_equal(part.inputs["x"], ROWS[part.samples])
        given = np.zeros((len(part.samples), 1, 4))
        assert np.array_equal(golden.recorded(made, "y", part.samples, given)[:, 0], 2 * ROWS[part.samples])


def test_samples_of_a_model_without_a_batch_go_alone(tmp_path: Path) -> None:
    """An item that fits what the model declares is a whole input."""
    np.savez(tmp_path / "a.npz", x=ROWS, labels=np.arange(10))
    single = TensorSpec("x", Datatype.FP32, (4,))
    parts = list(golden.batches(load(tmp_path, single), [single], 8))
    assert len(parts) == 10
    assert (parts[0].split, parts[0].inputs["x"].shape) == (False, (4,))


def test_texts_become_objects(tmp_path: Path) -> None:
    """Numpy's own texts; pickled objects are refused."""
    words = TensorSpec("x", Datatype.BYTES, (-1,))
    np.savez(tmp_path / "a.npz", x=np.array(["a", "bc"]), labels=np.array([0, 1]))
    made = load(tmp_path, words)
    (part,) = golden.batches(made, [words], 8)
    assert part.inputs["x"].dtype == object
    assert sorted(part.inputs["x"].tolist()) == ["a", "bc"]


def onnx_set(folder: Path, **files: bytes) -> None:
    one = folder / "test_data_set_0"
    one.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (one / f"{name}.pb").write_bytes(data)


def tensor(array: np.ndarray, name: str = "") -> bytes:
    data: bytes = numpy_helper.from_array(array, name).SerializeToString()
    return data


def test_onnx_sets_are_whole_samples(tmp_path: Path) -> None:
    """By the tensors' names, and by their numbers where these say nothing."""
    onnx_set(tmp_path, input_0=tensor(ROWS[:2], "x"), output_0=tensor(ROWS[:2] * 2, "other"))
    made = load(tmp_path)
    (part,) = golden.batches(made, [X], 32)
    assert (made.samples, part.split, part.inputs["x"].shape) == (1, False, (2, 4))
    given = np.zeros((1, 2, 4))
    assert np.array_equal(golden.recorded(made, "y", [0], given)[0], ROWS[:2] * 2)
    assert golden.alike((2, 4), (1, 2, 4))
    assert not golden.alike((2, 4), (1, 3, 4))
    assert not golden.alike((2, 4), (4, 2))


def savez(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "a.npz", **arrays)


def pickled(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.array([{"a": 1}], object), labels=np.array([1]), allow_pickle=True)


def cut(folder: Path) -> None:
    whole = io.BytesIO()
    np.savez(whole, x=ROWS, labels=np.arange(10))
    (folder / "a.npz").write_bytes(whole.getvalue()[:-40])


def bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(4 << 20))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda _: None, "holds neither"),
    "no input": (savez(labels=np.arange(3)), "no array for input 'x'"),
    "nothing to compare": (savez(x=ROWS), "neither 'labels' nor an output"),
    "unknown": (savez(x=ROWS, labels=np.arange(10), z=ROWS), "'z' is neither"),
    "lengths": (savez(x=ROWS, labels=np.arange(9)), "differ in their number"),
    "kind": (savez(x=ROWS.astype(np.complex64), labels=np.arange(10)), "complex64"),
    "no samples": (savez(x=ROWS[:0], labels=np.arange(0)), "no sample"),
    "scalar": (savez(x=np.float32(1), labels=np.arange(1)), "without a first axis"),
    "pickle": (pickled, "cannot be read"),
    "cut": (cut, "cannot be read"),
    "no tensor": (lambda f: onnx_set(f, input_0=b"\xff\xff", output_0=b""), "is no tensor"),
    "half a set": (lambda f: onnx_set(f, input_0=tensor(ROWS)), "cannot be read"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_set_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    """Each with a sentence that names what is wrong."""
    make, words = BAD[what]
    make(tmp_path)
    with pytest.raises(ModelRejected, match=words) as caught:
        load(tmp_path)
    assert caught.value.reason == "golden_invalid"


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four kilobytes that would become four megabytes, where three are allowed."""
    monkeypatch.setattr(golden, "_MOST_BYTES", 3 << 20)
    bomb(tmp_path)
    with pytest.raises(ModelRejected, match="unpacks to over"):
        load(tmp_path)


def test_many_archives_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would fit alone; of whatever kind of model the set is."""
    monkeypatch.setattr(golden, "_MOST_BYTES", 3 << 20)
    for number in range(2):
        np.savez_compressed(tmp_path / f"{number}.npz", x=np.zeros((1 << 17, 4), np.float32))
        assert golden.archives([tmp_path / f"{number}.npz"])[0]["x"].shape == (1 << 17, 4)
    for read in (load, lambda folder: course.recorded(folder, [X])):
        with pytest.raises(ModelRejected, match="unpacks to over") as refused:
            read(tmp_path)
        assert refused.value.reason == "golden_invalid"
