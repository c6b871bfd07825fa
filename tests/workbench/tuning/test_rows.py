"""Inputs of runs: where they are from, and how many go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.tensors import Datatype, TensorSpec
from changeover.workbench.tuning.rows import Rows, gather
from changeover.workbench.tuning.wish import Wish

X, Y = TensorSpec("x", Datatype.FP32, (-1, 3)), TensorSpec("y", Datatype.FP32, (-1, 2))
WHOLE = TensorSpec("x", Datatype.FP32, (1, 3)), TensorSpec("y", Datatype.FP32, (1, 2))


def archive(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_rows_of_a_run() -> None:
    """So many as asked for, others for each turn, from the beginning again when they are used up."""
    rows = Rows([np.arange(5, dtype=np.float32)[:, None]], batchable=True)
    assert rows.some(3)[0].ravel().tolist() == [0, 1, 2]
    assert rows.some(3, 1)[0].ravel().tolist() == [3, 4, 0]
    assert rows.some(1, 7)[0].ravel().tolist() == [2]


def test_a_golden_set_is_run(tmp_path: Path) -> None:
    """Its samples are the rows, and what is calibrated with."""
    given = np.arange(12, dtype=np.float32).reshape(4, 3)
    archive(tmp_path / "golden", x=given, labels=np.zeros(4, int))
    rows, golden = gather(Wish(golden=tmp_path / "golden"), [X], [Y])
    assert (rows.source, rows.count, rows.batchable) == ("golden", 4, True)
    assert golden is not None
    assert sorted(map(tuple, rows.columns[0].tolist())) == sorted(map(tuple, given.tolist()))
    assert [one[0].shape for one in rows.singly(2)] == [(1, 3), (1, 3)]


def test_a_golden_set_of_a_model_without_rows(tmp_path: Path) -> None:
    """A sample gets the leading dimension that the model wants."""
    archive(tmp_path / "golden", x=np.ones((4, 3), np.float32), y=np.ones((4, 2), np.float32))
    rows, _ = gather(Wish(golden=tmp_path / "golden"), [WHOLE[0]], [WHOLE[1]])
    assert not rows.batchable
    assert rows.some(7, 2)[0].shape == (1, 3)


def test_generated_inputs_calibrate_nothing() -> None:
    """They are run, and say nothing about what numbers a model sees."""
    for specs in ((X, Y), WHOLE):
        rows, golden = gather(Wish(), [specs[0]], [specs[1]])
        assert golden is None
        assert rows.source == "generated"
        assert rows.count > 1
        assert rows.singly(10) == []
        assert specs[0].fits(rows.some(1)[0].shape)


def test_recorded_requests(tmp_path: Path) -> None:
    """They are run and calibrated with, in the model's own type."""
    file = archive(tmp_path, x=np.ones((4, 3), np.float64))
    rows, _ = gather(Wish(requests=file), [X], [Y])
    assert (rows.source, rows.columns[0].dtype) == ("requests", np.float32)
    assert len(rows.singly(10)) == 4
    whole = archive(tmp_path, x=np.ones((4, 2, 3), np.float32))
    assert gather(Wish(requests=whole), [X], [Y])[0].columns[0].shape == (8, 3)
    single = archive(tmp_path, x=np.ones((4, 3), np.float32))
    assert gather(Wish(requests=single), [WHOLE[0]], [WHOLE[1]])[0].some(1)[0].shape == (1, 3)


@pytest.mark.parametrize(
    "arrays", [{"z": np.ones((4, 3))}, {"x": np.ones((4, 5))}, {"x": np.ones((0, 3))}, {"x": np.array(["a"])}]
)
def test_requests_of_another_model(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    """What does not fit is refused with a sentence."""
    with pytest.raises(ModelRejected, match="recorded requests cannot be used") as caught:
        gather(Wish(requests=archive(tmp_path, **arrays)), [X], [Y])
    assert caught.value.reason == "requests_invalid"


def test_requests_that_are_no_archive(tmp_path: Path) -> None:
    """Another file is refused, a pickle too."""
    for text in (b"nothing", b""):
        (tmp_path / "a.npz").write_bytes(text)
        with pytest.raises(ModelRejected, match="cannot be used"):
            gather(Wish(requests=tmp_path / "a.npz"), [X], [Y])


def test_a_file_keeps_them(tmp_path: Path) -> None:
    """Texts as well, without pickles."""
    specs = [X, TensorSpec("t", Datatype.BYTES, (-1, 1))]
    texts = np.array([["a"], ["bc"]], object)
    rows = Rows([np.ones((2, 3), np.float32), texts], batchable=True, source="requests")
    rows.write(tmp_path / "r.npz")
    read = Rows.read(tmp_path / "r.npz", specs)
    assert (read.batchable, read.source) == (True, "requests")
    assert read.columns[1].tolist() == [["a"], ["bc"]]
    assert np.array_equal(read.columns[0], rows.columns[0])


def test_a_text_that_is_none(tmp_path: Path) -> None:
    """Bytes that a client sent for one do not spoil the others."""
    specs = [TensorSpec("t", Datatype.BYTES, (-1, 1))]
    rows, _ = gather(Wish(requests=archive(tmp_path, t=np.array([[b"caf\xc3\xa9"], [b"\xff"]]))), specs, [Y])
    assert rows.columns[0].tolist() == [["caf\u00e9"], ["\ufffd"]]
