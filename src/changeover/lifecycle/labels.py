"""Label files: the names of the classes of an output, one a line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from changeover.errors import ModelRejected
from changeover.lifecycle.manifest import checked_name

_MOST_BYTES: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def label_file(name: str, folders: Iterable[Path]) -> Path:
    """The label file of this name in the first of the folders that has it; it was read once.

    Raises:
        ModelRejected: `labels_unreadable`: none has it, or it is none; `artifact_name`: its name leads elsewhere.
    """
    checked_name(name)
    for folder in folders:
        path = folder / name
        if path.exists():
            read_labels(path)
            return path
    raise _unreadable(name, "it is not beside the version, nor beside the model")


def read_labels(path: Path) -> list[str]:
    """The labels, by class.

    Raises:
        ModelRejected: `labels_unreadable`: it is no plain file of UTF-8 text, or over 1 MiB.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        raise _unreadable(path.name, str(error.strerror)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(path.name, "it is no plain file")
        with open(descriptor, "rb", closefd=False) as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path.name, str(error.strerror)) from None
    finally:
        os.close(descriptor)
    if len(text) > _MOST_BYTES:
        raise _unreadable(path.name, f"it is over {_MOST_BYTES >> 20} MiB")
    try:
        return [line.rstrip("\r") for line in text.decode("utf-8-sig").rstrip("\r\n").split("\n")]
    except UnicodeDecodeError:
        raise _unreadable(path.name, "it is not UTF-8 text") from None


def _unreadable(name: str, why: str) -> ModelRejected:
    return ModelRejected(f"The label file {name!r} cannot be read: {why}.", reason="labels_unreadable")
