"""What a version holds, read file by file: from a stream or from a folder that nobody may change meanwhile.

Sources are opened below a folder descriptor without following links, and only regular files are read. Sealing writes
what is read here; `digest_of` only hashes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from changeover.errors import ModelRejected
from changeover.lifecycle.manifest import Manifest, SealedFile, checked_name, manifest_of
from changeover.lifecycle.source import MODEL_FILE

_BLOCK: Final = 1 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Readable(Protocol):
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


@dataclass(slots=True, kw_only=True)
class Contents:
    """Files that were read, with their hashes."""

    limits: SealLimits = DEFAULT_LIMITS
    files: list[SealedFile] = field(default_factory=list)
    total: int = 0

    def add(self, name: str, source: Readable) -> SealedFile:
        """Read a stream to its end under a checked name."""
        self.require_room()
        return self.read(checked_name(name), source, lambda _: None)

    def add_folder(self, folder: Path) -> None:
        """Add all that lies in a version folder; hidden files are left out. Raises as `seal_folder`."""
        top = _opened(folder, None, _FOLDER)
        try:
            _add_tree(self, top, "")
        finally:
            os.close(top)

    def manifest(self) -> Manifest:
        """Of all files that were read."""
        if MODEL_FILE not in {file.name for file in self.files}:
            raise ModelRejected(f"The version has no {MODEL_FILE}.", reason="artifact_no_model")
        return manifest_of(self.files)

    def require_room(self) -> None:
        """Refuse one more file than there may be."""
        if len(self.files) >= self.limits.files:
            raise _too_many(self.limits)

    def read(self, name: str, source: Readable, keep: Callable[[bytes], None]) -> SealedFile:
        """Read a stream to its end, hash it, and hand on each block."""
        size, digest = 0, hashlib.sha256()
        while block := source.read(_BLOCK):
            size += len(block)
            self.total += len(block)
            if size > self.limits.file_bytes or self.total > self.limits.total_bytes:
                raise _too_large(name, self.limits)
            digest.update(block)
            keep(block)
        self.files.append(SealedFile(name, size, digest.hexdigest()))
        return self.files[-1]


def digest_of(folder: Path, limits: SealLimits = DEFAULT_LIMITS) -> str:
    """The digest that sealing a version folder would give; nothing is written. Raises as `seal_folder`."""
    contents = Contents(limits=limits)
    contents.add_folder(folder)
    return contents.manifest().digest


def _add_tree(contents: Contents, folder: int, prefix: str) -> None:
    """Add all below an open folder, and make sure that nothing changed while that was done."""
    before = _listing(folder)
    for name, kind in before.items():
        if name.startswith("."):
            continue
        checked_name(prefix + name)
        if kind == stat.S_IFDIR:
            child = _opened(name, folder, _FOLDER)
            try:
                _add_tree(contents, child, f"{prefix}{name}/")
            finally:
                os.close(child)
        else:
            _add_file(contents, folder, name, prefix + name)
    if _listing(folder) != before:
        raise _changed(prefix or ".")


def _add_file(contents: Contents, folder: int, name: str, full_name: str) -> None:
    descriptor = _opened(name, folder, _READ)
    with open(descriptor, "rb", buffering=0) as source:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise _not_regular(full_name)
        if before.st_size > contents.limits.file_bytes:
            raise _too_large(full_name, contents.limits)
        try:
            taken = contents.add(full_name, source)
        except OSError as error:
            raise _unreadable(full_name, error) from error
        after = os.fstat(descriptor)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or taken.size != after.st_size:
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
