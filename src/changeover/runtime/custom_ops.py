"""Libraries with operators of one's own: native code, so only what the server's operator has laid down is loaded.

A plan names files, the setting `custom_ops` the folder they lie in; nothing that comes with a model leads anywhere.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from changeover.errors import ModelRejected
from changeover.transport.control import WorkerSpec


@dataclass(frozen=True, slots=True)
class Library:
    """One library that may be loaded; `digest` is its SHA-256, which an optimised graph depends on."""

    path: str
    digest: str


def allowed(spec: WorkerSpec) -> list[Library]:
    """The libraries that a version wants, in its plan's order.

    Raises:
        ModelRejected: `custom_op_not_allowed`: the server has no folder of libraries, this one is not in it, or others
            than the operator could have written it.
    """
    return [_library(spec.custom_ops, name) for name in spec.session.custom_ops]


def _library(folder: str, name: str) -> Library:
    if not folder:
        raise _refused(name, "this server loads none; --custom-ops DIR names the folder of those it may load")
    path = Path(folder) / name  # a name without any path: `SessionOptions` lets no other pass
    try:
        _check(name, Path(folder), stat.S_IFDIR)
        _check(name, path, stat.S_IFREG)
        with path.open("rb") as file:
            return Library(str(path), hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise _refused(name, f"{path}: {error.strerror}") from None


def _check(name: str, place: Path, kind: int) -> None:
    """A plain file or folder that belongs to the server's user or to root, and that nobody else can change."""
    status = place.lstat()
    if stat.S_IFMT(status.st_mode) != kind:
        raise _refused(name, f"{place} is a link, or of another kind")
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(name, f"others may write to {place}: chown it to the server's user, chmod go-w")


def _refused(name: str, why: str) -> ModelRejected:
    return ModelRejected(f"The custom-op library {name} is not loaded: {why}.", reason="custom_op_not_allowed")
