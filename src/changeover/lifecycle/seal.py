"""Seal a version: a content-addressed, read-only copy of its files that no later change of the source can reach.

Order of writes, so that a power cut at any point leaves either nothing or the whole artifact under its digest: files
into a temporary folder, each synchronised; the folders, synchronised; one rename; the store, synchronised. How a
source is read, and which are refused, is in `contents.py`.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from changeover.errors import Internal, ModelRejected
from changeover.lifecycle.artifacts import (
    FILES_FOLDER,
    MANIFEST_FILE,
    TEMPORARY_PREFIX,
    Artifact,
    discard,
    verify_sealed,
)
from changeover.lifecycle.contents import DEFAULT_LIMITS, Contents, Readable, SealLimits
from changeover.lifecycle.manifest import SealedFile, checked_name
from changeover.lifecycle.source import MODEL_FILE
from changeover.lifecycle.tarball import members

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def seal_folder(folder: Path, store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal a version folder of the repository; hidden files are left out.

    Args:
        folder: with `model.onnx` and whatever belongs to it.
        store: folder of the artifacts, on one file system; must exist.
        limits: most files and bytes.

    Raises:
        ModelRejected: `artifact_no_model`, `artifact_not_regular` (a link, device, FIFO or socket), `artifact_name`,
            `artifact_too_large`, `artifact_too_many_files`, `artifact_changed` (written to meanwhile),
            `source_unreadable`.
        Internal: `artifacts_unwritable`: the store's disk is full or failing; nothing is left behind.
    """
    with _sealing(store, limits) as sealing:
        sealing.add_folder(folder)
        return sealing.finish()


def seal_file(source: IO[bytes], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal one ONNX file, read from a stream to its end. Raises as `seal_folder`."""
    with _sealing(store, limits) as sealing:
        sealing.add(MODEL_FILE, source)
        return sealing.finish()


def seal_parts(parts: Mapping[str, bytes], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal files that came with a call, by their names. Raises as `seal_folder`, and for a name that is none."""
    with _sealing(store, limits) as sealing:
        for name, data in parts.items():
            sealing.add(name, io.BytesIO(data))
        return sealing.finish()


def seal_files(files: Mapping[str, Path], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal files that nobody else can change, by the names they are to have. Raises as `seal_folder`."""
    with _sealing(store, limits) as sealing:
        for name, path in files.items():
            with path.open("rb") as source:
                sealing.add(name, source)
        return sealing.finish()


def seal_tar(source: IO[bytes], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal the members of a tar stream, plain or compressed. Raises as `seal_folder` and `tarball.members`."""
    with _sealing(store, limits) as sealing:
        for member in members(source):
            sealing.add(member.name, member)
        return sealing.finish()


@dataclass(slots=True, kw_only=True)
class _Sealing(Contents):
    """An artifact being written into a temporary folder of the store."""

    store: Path
    temporary: Path
    folders: set[Path] = field(default_factory=set)

    def add(self, name: str, source: Readable) -> SealedFile:
        """Copy a stream to its end under a checked name, hash it, synchronise it."""
        self.require_room()
        path = self.temporary / FILES_FOLDER / checked_name(name)
        with _writing(self.store):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                target = os.open(path, _CREATE, stat.S_IRUSR)
            except (NotADirectoryError, FileExistsError):
                raise ModelRejected(f"{name!r} is a file and a folder.", reason="artifact_name") from None

        def keep(block: bytes) -> None:
            with _writing(self.store):
                _write_all(target, block)

        try:
            file = self.read(name, source, keep)
            with _writing(self.store):
                os.fsync(target)
        finally:
            os.close(target)
        self.folders |= {path.parent, *(p for p in path.parents if p.is_relative_to(self.temporary))}
        return file

    def finish(self) -> Artifact:
        """Write the manifest, make everything durable and give it its name."""
        manifest = self.manifest()
        with _writing(self.store):
            self._write_manifest(manifest.to_json())
            for folder in sorted(self.folders, key=lambda path: len(path.parts), reverse=True):
                os.chmod(folder, stat.S_IRUSR | stat.S_IXUSR)
                _synchronise(folder)
            _publish(self.temporary, self.store / manifest.digest)
        return Artifact(manifest.digest, self.store / manifest.digest, manifest)

    def _write_manifest(self, text: bytes) -> None:
        target = os.open(self.temporary / MANIFEST_FILE, _CREATE, stat.S_IRUSR)
        try:
            _write_all(target, text)
            os.fsync(target)
        finally:
            os.close(target)


@contextmanager
def _sealing(store: Path, limits: SealLimits) -> Iterator[_Sealing]:
    """A temporary folder that is gone at the end, unless it became the artifact."""
    with _writing(store):
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=store))
    try:
        yield _Sealing(store=store, temporary=temporary, limits=limits)
    finally:
        if temporary.exists():
            discard(temporary)


def _publish(temporary: Path, final: Path) -> None:
    """Rename the artifact into its place; one that is there already and sound stays, a damaged one is replaced."""
    if final.exists():
        try:
            verify_sealed(final.parent, final.name)
        except ModelRejected:
            os.rename(final, temporary.with_name(temporary.name + "-damaged"))
            discard(temporary.with_name(temporary.name + "-damaged"))
        else:
            return
    os.rename(temporary, final)
    _synchronise(final.parent)


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(target: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(target, view) :]


@contextmanager
def _writing(store: Path) -> Iterator[None]:
    """Errors of the store's disk in our words, told apart from errors of reading the source."""
    try:
        yield
    except OSError as error:
        raise Internal(
            f"The artifact store {store} cannot be written ({error.strerror}): free disk space or mend its "
            "permissions. Nothing was taken.",
            reason="artifacts_unwritable",
        ) from error
