"""Libraries with operators of one's own: which are let in, and that they run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.runtime import custom_ops, session
from changeover.transport.control import WorkerSpec
from changeover.transport.session_options import SessionOptions
from tests import custom_operators

ROWS = np.array([[2, 0], [0, 4]], np.float32)


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    """A folder with one file that looks like a library."""
    folder = tmp_path / "ops"
    folder.mkdir(mode=0o755)
    (folder / "libown.so").write_bytes(b"no library")
    (folder / "libown.so").chmod(0o644)
    return folder


def spec(folder: Path | str, name: str = "libown.so", path: Path | None = None) -> WorkerSpec:
    """A version whose plan names a library, on a server with this folder of them."""
    cache = "" if path is None else str(path.parent)
    return WorkerSpec(
        1, "m", "1", digest="d", path=str(path), cache=cache, empty="", session=SessionOptions(custom_ops=(name,)),
        custom_ops=str(folder),
    )  # fmt: skip


def refused(made: WorkerSpec) -> str:
    """The sentence with which a library is refused."""
    with pytest.raises(ModelRejected) as caught:
        custom_ops.allowed(made)
    assert caught.value.reason == "custom_op_not_allowed"
    return caught.value.message


def test_what_the_operator_laid_down_is_allowed(ops: Path) -> None:
    """With its path and the digest of its bytes; a plan that names none needs no folder."""
    (found,) = custom_ops.allowed(spec(ops))
    assert (found.path, found.digest) == (str(ops / "libown.so"), hashlib.sha256(b"no library").hexdigest())
    assert custom_ops.allowed(WorkerSpec(1, "m", "1", digest="", path="", cache="", empty="")) == []


def test_without_a_folder_nothing_is_allowed() -> None:
    """The sentence says how a server gets one."""
    assert "--custom-ops DIR" in refused(spec(""))


def test_only_what_lies_in_the_folder(ops: Path) -> None:
    """A name that is not there, nor a folder; one that leads elsewhere no plan can say."""
    assert "No such file" in refused(spec(ops, "libother.so"))
    (ops / "libfolder.so").mkdir()
    assert "of another kind" in refused(spec(ops, "libfolder.so"))
    with pytest.raises(ValueError, match="no name of a library"):
        spec(ops, "../ops/libown.so")


def test_a_link_is_refused(ops: Path) -> None:
    """Whoever may write to its target would decide what is loaded."""
    (ops / "liblink.so").symlink_to(ops / "libown.so")
    assert "is a link" in refused(spec(ops, "liblink.so"))


def spoilt_file(ops: Path) -> None:
    (ops / "libown.so").chmod(0o664)


def spoilt_folder(ops: Path) -> None:
    ops.chmod(0o777)


@pytest.mark.parametrize("spoil", [spoilt_file, spoilt_folder])
def test_what_others_can_write_is_refused(ops: Path, spoil: Callable[[Path], None]) -> None:
    """The file or its folder; the sentence says what to do."""
    spoil(ops)
    assert "chmod go-w" in refused(spec(ops))


def test_what_is_no_library_cannot_be_loaded(ops: Path, tmp_path: Path) -> None:
    """The loader's own refusal, in our words."""
    path = tmp_path / "model.onnx"
    path.write_bytes(custom_operators.inverting().SerializeToString())
    with pytest.raises(ModelRejected) as caught:
        session.load(spec(ops, path=path))
    assert caught.value.reason == "load_failed"
    assert "libown.so cannot be loaded" in caught.value.message


def test_an_operator_of_ones_own_runs(tmp_path: Path) -> None:
    """From the model's file and from the cache; another library is another entry, and without one nothing runs."""
    folder = custom_operators.library(tmp_path / "ops").parent
    path = tmp_path / "model.onnx"
    path.write_bytes(custom_operators.inverting().SerializeToString())
    for cached in ("miss", "hit"):
        loaded = session.load(spec(folder, path=path))
        assert loaded.cache == cached
        np.testing.assert_allclose(loaded.session.run([ROWS])[0], [[0.5, 0], [0, 0.25]])
    with (folder / "libown.so").open("ab") as file:
        file.write(b"\0")  # what follows the last section is not looked at
    assert session.load(spec(folder, path=path)).cache == "miss"
    plain = WorkerSpec(1, "m", "1", digest="d", path=str(path), cache=str(tmp_path), empty="")
    with pytest.raises(ModelRejected, match="Inverse"):
        session.load(plain)
