"""Reading a version without sealing it: the same digest, the same refusals, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.contents import SealLimits, digest_of
from changeover.lifecycle.seal import seal_folder
from tests.lifecycle.onnx_files import linear, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = write(tmp_path / "1", linear(), model_data=b"1" * 3_000_000)
    (found / "golden").mkdir()
    (found / "golden" / "a.npz").write_bytes(b"golden")
    (found / ".DS_Store").write_bytes(b"left out")
    return found


def test_it_is_the_digest_that_sealing_gives(folder: Path, tmp_path: Path) -> None:
    """Also for files of several blocks, in folders, and hidden ones; the folder is as it was."""
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    digest = digest_of(folder)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    store = tmp_path / "artifacts"
    store.mkdir()
    assert seal_folder(folder, store).digest == digest


def test_other_contents_have_another_digest(folder: Path) -> None:
    """A byte that differs, or a name."""
    digests = {digest_of(folder)}
    (folder / "golden" / "a.npz").write_bytes(b"silver")
    digests.add(digest_of(folder))
    os.rename(folder / "golden" / "a.npz", folder / "golden" / "b.npz")
    digests.add(digest_of(folder))
    assert len(digests) == 3


def test_what_sealing_refuses_is_refused(folder: Path) -> None:
    """No model, a link, too many files, too many bytes."""

    def reason(limits: SealLimits = SealLimits()) -> str:  # noqa: B008 - a frozen value
        with pytest.raises(ModelRejected) as caught:
            digest_of(folder, limits)
        return caught.value.reason

    assert reason(SealLimits(files=2)) == "artifact_too_many_files"
    assert reason(SealLimits(total_bytes=1000)) == "artifact_too_large"
    (folder / "link").symlink_to("/dev/zero")
    assert reason() == "artifact_not_regular"
    (folder / "link").unlink()
    (folder / "model.onnx").unlink()
    assert reason() == "artifact_no_model"
