"""Label files: found, read, and refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.labels import label_file, read_labels


def test_the_first_folder_that_has_the_file_counts(tmp_path: Path) -> None:
    """Beside the version before beside the model; lines end as anybody ends them."""
    version, model = tmp_path / "1", tmp_path
    version.mkdir()
    (model / "labels.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\r\ndog\n\n")
    assert label_file("labels.txt", [version, model]) == model / "labels.txt"
    assert read_labels(model / "labels.txt") == ["cat", "", "dog"]
    (version / "labels.txt").write_text("bird")
    assert label_file("labels.txt", [version, model]) == version / "labels.txt"
    assert read_labels(version / "labels.txt") == ["bird"]


@pytest.mark.parametrize("name", ["../labels.txt", "/etc/passwd", ".hidden", "a//b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Only names below the folder are opened."""
    with pytest.raises(ModelRejected) as refused:
        label_file(name, [tmp_path])
    assert refused.value.reason == "artifact_name"


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    """A link, a pipe, other bytes than UTF-8, too many, and nothing at all."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x\n" * (1 << 19) + b"x")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "bytes", "large", "folder", "missing"):
        with pytest.raises(ModelRejected) as refused:
            label_file(name, [tmp_path])
        assert refused.value.reason == "labels_unreadable"
        assert name in refused.value.message
