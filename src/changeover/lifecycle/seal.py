"""Seal a version: a content-addressed, read-only copy of its files that no later change of the source can reach.

Order of writes, so that a power cut at any point leaves either nothing or the whole artifact under its digest: files
into a temporary folder, each synchronised; the folders, synchronised; one rename; the store, synchronised. Sources
are opened below a folder descriptor without following links, and only regular files are read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Protocol

from changeover.errors import Internal, ModelRejected
from changeover.lifecycle.artifacts import (
    FILES_FOLDER,
    MANIFEST_FILE,
    TEMPORARY_PREFIX,
    Artifact,
    discard,
    verify_sealed,
)
from changeover.lifecycle.manifest import SealedFile, checked_name, manifest_of
from changeover.lifecycle.source import MODEL_FILE
from changeover.lifecycle.tarball import members

_BLOCK: Final = 1 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Readable(Protocol):
    """An open file, or a member of a tar stream."""

    def read(self, size: int = -1, /) -> bytes | None:
        """The next bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class SealLimits:
    """What an artifact may be at most.

    Attributes:
        files: number of files.
        file_bytes: size of one file.
        total_bytes: size of all.
    """

    files: int = 4096
    file_bytes: int = 32 << 30
    total_bytes: int = 64 << 30


DEFAULT_LIMITS: Final = SealLimits()


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
        top = _opened(folder, None, _FOLDER)
        try:
            _copy_tree(sealing, top, "")
        finally:
            os.close(top)
        return sealing.finish()


def seal_file(source: IO[bytes], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal one ONNX file, read from a stream to its end. Raises as `seal_folder`."""
    with _sealing(store, limits) as sealing:
        sealing.add(MODEL_FILE, source)
        return sealing.finish()


def seal_tar(source: IO[bytes], store: Path, limits: SealLimits = DEFAULT_LIMITS) -> Artifact:
    """Seal the members of a tar stream, plain or compressed. Raises as `seal_folder` and `tarball.members`."""
    with _sealing(store, limits) as sealing:
        for member in members(source):
            sealing.add(member.name, member)
        return sealing.finish()


@dataclass(slots=True)
class _Sealing:
    """An artifact being written into a temporary folder of the store."""

    store: Path
    temporary: Path
    limits: SealLimits
    files: list[SealedFile] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)
    total: int = 0

    def add(self, name: str, source: _Readable) -> SealedFile:
        """Copy a stream to its end under a checked name, hash it, synchronise it."""
        if len(self.files) >= self.limits.files:
            raise _too_many(self.limits)
        path = self.temporary / FILES_FOLDER / checked_name(name)
        with _writing(self.store):
            path.parent.mkdir(parents=True, exist_ok=True)
            target = os.open(path, _CREATE, stat.S_IRUSR)
        try:
            size, digest = self._copy(name, source, target)
            with _writing(self.store):
                os.fsync(target)
        finally:
            os.close(target)
        self.folders |= {path.parent, *(p for p in path.parents if p.is_relative_to(self.temporary))}
        self.files.append(SealedFile(name, size, digest))
        return self.files[-1]

    def finish(self) -> Artifact:
        """Write the manifest, make everything durable and give it its name."""
        if MODEL_FILE not in {file.name for file in self.files}:
            raise ModelRejected(f"The version has no {MODEL_FILE}.", reason="artifact_no_model")
        manifest = manifest_of(self.files)
        with _writing(self.store):
            self._write_manifest(manifest.to_json())
            for folder in sorted(self.folders, key=lambda path: len(path.parts), reverse=True):
                os.chmod(folder, stat.S_IRUSR | stat.S_IXUSR)
                _synchronise(folder)
            _publish(self.temporary, self.store / manifest.digest)
        return Artifact(manifest.digest, self.store / manifest.digest, manifest)

    def _copy(self, name: str, source: _Readable, target: int) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        while block := source.read(_BLOCK):
            size += len(block)
            self.total += len(block)
            if size > self.limits.file_bytes or self.total > self.limits.total_bytes:
                raise _too_large(name, self.limits)
            digest.update(block)
            with _writing(self.store):
                _write_all(target, block)
        return size, digest.hexdigest()

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
        yield _Sealing(store, temporary, limits)
    finally:
        if temporary.exists():
            discard(temporary)


def _copy_tree(sealing: _Sealing, folder: int, prefix: str) -> None:
    """Add all below an open folder, and make sure that nothing changed while that was done."""
    before = _listing(folder)
    for name, kind in before.items():
        if name.startswith("."):
            continue
        checked_name(prefix + name)
        if kind == stat.S_IFDIR:
            child = _opened(name, folder, _FOLDER)
            try:
                _copy_tree(sealing, child, f"{prefix}{name}/")
            finally:
                os.close(child)
        else:
            _copy_file(sealing, folder, name, prefix + name)
    if _listing(folder) != before:
        raise _changed(prefix or ".")


def _copy_file(sealing: _Sealing, folder: int, name: str, full_name: str) -> None:
    descriptor = _opened(name, folder, _READ)
    with open(descriptor, "rb", buffering=0) as source:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise _not_regular(full_name)
        if before.st_size > sealing.limits.file_bytes:
            raise _too_large(full_name, sealing.limits)
        try:
            copied = sealing.add(full_name, source)
        except OSError as error:
            raise _unreadable(full_name, error) from error
        after = os.fstat(descriptor)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or copied.size != after.st_size:
        raise _changed(full_name)


def _listing(folder: int) -> dict[str, int]:
    """The kind of each entry by name, in order."""
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                for entry in sorted(entries, key=lambda entry: entry.name)
            }
    except OSError as error:  # an entry that goes while it is looked at, too
        raise _unreadable("the version's folder", error) from error


def _opened(name: str | Path, folder: int | None, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise _not_regular(str(name)) from error
        raise _unreadable(str(name), error) from error


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


def _too_many(limits: SealLimits) -> ModelRejected:
    return ModelRejected(f"The version has more than {limits.files} files.", reason="artifact_too_many_files")


def _too_large(name: str, limits: SealLimits) -> ModelRejected:
    return ModelRejected(
        f"{name} is too large: {limits.file_bytes} bytes a file and {limits.total_bytes} in all are the limits.",
        reason="artifact_too_large",
    )


def _changed(name: str) -> ModelRejected:
    return ModelRejected(f"{name} was changed while it was copied.", reason="artifact_changed")


def _not_regular(name: str) -> ModelRejected:
    return ModelRejected(
        f"{name} is a link or a special file: a version holds regular files and folders only.",
        reason="artifact_not_regular",
    )


def _unreadable(name: str, error: OSError) -> ModelRejected:
    return ModelRejected(f"{name} cannot be read: {error.strerror}.", reason="source_unreadable")
