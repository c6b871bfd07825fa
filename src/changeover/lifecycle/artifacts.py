"""Sealed artifacts: `STORE/DIGEST/manifest.json` and the version's files in `STORE/DIGEST/files/`, never changed.

What was verified is what is loaded, because both name the digest, and `open_artifact` hashes the bytes again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from changeover.errors import ModelRejected
from changeover.lifecycle.manifest import Manifest, SealedFile, read_manifest
from changeover.lifecycle.source import MODEL_FILE

MANIFEST_FILE: Final = "manifest.json"
FILES_FOLDER: Final = "files"
TEMPORARY_PREFIX: Final = ".sealing-"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_BLOCK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Artifact:
    """One sealed artifact on this disk.

    Attributes:
        digest: its name, from its contents.
        path: folder of the manifest.
        manifest: what it holds.
    """

    digest: str
    path: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """Folder of the version's files, as they lay in the repository."""
        return self.path / FILES_FOLDER

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL_FILE

    def __repr__(self) -> str:
        return f"<Artifact {self.digest[:12]} {len(self.manifest.files)} files {self.manifest.size} bytes>"


def verify_sealed(store: Path, digest: str) -> Artifact:
    """The artifact of a digest, after hashing every byte of it again.

    Raises:
        ModelRejected: `artifact_missing`, or `artifact_damaged` with the file that differs.
    """
    artifact = open_artifact(store, digest)
    for sealed in artifact.manifest.files:
        if _hash(artifact.folder / sealed.name, sealed) != sealed.sha256:
            raise _damaged(digest, f"{sealed.name} was changed")
    extra = _names(artifact.folder) - {sealed.name for sealed in artifact.manifest.files}
    if extra:
        raise _damaged(digest, f"{min(extra)} was added")
    return artifact


def open_artifact(store: Path, digest: str) -> Artifact:
    """The artifact of a digest with its manifest checked, its files not read.

    Raises:
        ModelRejected: `artifact_missing` or `artifact_damaged`.
    """
    path = store / digest
    if not _DIGEST.fullmatch(digest) or not path.is_dir():
        raise ModelRejected(f"There is no sealed artifact {digest!r}.", reason="artifact_missing")
    try:
        text = (path / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise _damaged(digest, f"its manifest cannot be read: {error.strerror}") from error
    manifest = read_manifest(text)
    if manifest.digest != digest:
        raise _damaged(digest, "its manifest was changed")
    return Artifact(digest, path, manifest)


def digests(store: Path) -> list[str]:
    """Digests of all sealed artifacts in a store, sorted."""
    return sorted(name for name in os.listdir(store) if _DIGEST.fullmatch(name))


def remove(store: Path, digest: str) -> None:
    """Delete an artifact that no loading uses; nothing happens when it is not there.

    It first leaves its name, so that a kill in the middle leaves no half artifact under the digest.
    """
    if not _DIGEST.fullmatch(digest) or not (store / digest).is_dir():
        return
    leaving = store / f"{TEMPORARY_PREFIX}{digest}"
    discard(leaving)
    os.rename(store / digest, leaving)
    discard(leaving)


def sweep(store: Path) -> int:
    """Delete what an interrupted sealing or removal left; how many folders there were. For the start only."""
    left = [name for name in os.listdir(store) if name.startswith(TEMPORARY_PREFIX)]
    for name in left:
        discard(store / name)
    return len(left)


def discard(folder: Path) -> None:
    """Delete a folder tree of read-only entries, as far as that is possible."""
    for base, folders, _ in os.walk(folder):
        for name in [".", *folders]:
            os.chmod(os.path.join(base, name), stat.S_IRWXU)  # a sealed folder lets nothing be unlinked in it
    shutil.rmtree(folder, ignore_errors=True)


def _hash(path: Path, sealed: SealedFile) -> str | None:
    """SHA-256 of a regular file of the size told, or `None` when it is not one, or cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(os.open(path, _READ), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size != sealed.size or status.st_nlink != 1:
                return None
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _names(folder: Path) -> set[str]:
    found: set[str] = set()
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(base, name))]
        found |= {os.path.relpath(os.path.join(base, name), folder) for name in [*files, *links]}
    return found


def _damaged(digest: str, what: str) -> ModelRejected:
    return ModelRejected(
        f"The sealed artifact {digest[:12]} is damaged ({what}): push or copy the version again.",
        reason="artifact_damaged",
    )
