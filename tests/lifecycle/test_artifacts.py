"""Artifacts on the disk: damage of every kind is found, removal and sweeping leave nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle import artifacts
from changeover.lifecycle.artifacts import TEMPORARY_PREFIX, Artifact, digests, remove, sweep, verify_sealed
from changeover.lifecycle.manifest import SealedFile
from changeover.lifecycle.seal import seal_folder
from tests.lifecycle.onnx_files import linear, write


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


@pytest.fixture
def artifact(tmp_path: Path, store: Path) -> Artifact:
    return seal_folder(write(tmp_path / "1", linear(), model_data=b"\1" * 100), store)


def _flip(artifact: Artifact) -> None:
    data = bytearray(artifact.model.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.model.chmod(0o600)
    artifact.model.write_bytes(data)


def _shorten(artifact: Artifact) -> None:
    os.truncate(artifact.model, 10)


def _delete(artifact: Artifact) -> None:
    artifact.folder.chmod(0o700)
    (artifact.folder / "model.data").unlink()


def _add(artifact: Artifact) -> None:
    artifact.folder.chmod(0o700)
    (artifact.folder / "extra.data").write_bytes(b"1")


def _link(artifact: Artifact) -> None:
    artifact.folder.chmod(0o700)
    os.link(artifact.model, artifact.path.parent / "second-name")


def _symlink(artifact: Artifact) -> None:
    artifact.folder.chmod(0o700)
    (artifact.folder / "model.data").rename(artifact.path.parent / "moved")
    (artifact.folder / "model.data").symlink_to(artifact.path.parent / "moved")


def _rewrite_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").chmod(0o600)
    (artifact.path / "manifest.json").write_bytes(artifact.manifest.to_json().replace(b"100", b"101"))


def _garble_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").chmod(0o600)
    (artifact.path / "manifest.json").write_bytes(b"{}")


def _lose_manifest(artifact: Artifact) -> None:
    artifact.path.chmod(0o700)
    (artifact.path / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [_flip, _shorten, _delete, _add, _link, _symlink, _rewrite_manifest, _garble_manifest, _lose_manifest],
)
def test_damage_is_found(artifact: Artifact, store: Path, damage: Callable[[Artifact], None]) -> None:
    """One flipped bit, a lost or added file, a link, a changed manifest: never loaded."""
    assert verify_sealed(store, artifact.digest) == artifact
    damage(artifact)
    with pytest.raises(ModelRejected) as caught:
        verify_sealed(store, artifact.digest)
    assert caught.value.reason == "artifact_damaged"


@pytest.mark.parametrize("digest", ["0" * 64, "", "..", "../1", "A" * 64])
def test_unknown_digests_are_missing(store: Path, digest: str) -> None:
    """A digest that is not there, and texts that are none."""
    with pytest.raises(ModelRejected) as caught:
        verify_sealed(store, digest)
    assert caught.value.reason == "artifact_missing"


def test_removal_is_complete(artifact: Artifact, store: Path) -> None:
    """Read-only folders go too; a second removal does nothing."""
    assert digests(store) == [artifact.digest]
    remove(store, artifact.digest)
    remove(store, artifact.digest)
    assert os.listdir(store) == []


def test_sweeping_deletes_what_was_interrupted(artifact: Artifact, store: Path) -> None:
    """Half-written folders are deleted at the start, artifacts stay."""
    left = store / f"{TEMPORARY_PREFIX}abc"
    (left / "files").mkdir(parents=True)
    (left / "files" / "model.onnx").write_bytes(b"half")
    (left / "files").chmod(0o500)
    assert sweep(store) == 1
    assert os.listdir(store) == [artifact.digest]
    assert sweep(store) == 0


def test_repr_is_short(artifact: Artifact) -> None:
    """An operator sees digest, number of files and size."""
    assert repr(artifact) == f"<Artifact {artifact.digest[:12]} 2 files {artifact.manifest.size} bytes>"


def test_a_file_that_cannot_be_read_has_no_digest() -> None:
    """A bad sector under a sealed file is damage like changed bytes, so that the previous version is tried."""
    unreadable = Path("/proc/self/mem")  # its first page gives EIO
    with pytest.raises(OSError, match="Input/output error"):
        unreadable.read_bytes()
    assert artifacts._hash(unreadable, SealedFile("model.onnx", 0, "0" * 64)) is None
