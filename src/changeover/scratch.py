"""Temporary folders of programs that may be killed: the next one of the same kind clears up behind them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def scratch(kind: str) -> Path:
    """Make a folder `changeover-KIND-PROCESS-…` in the temporary one, for the caller to remove.

    Those of this kind whose process is gone are removed first, unless somebody still works in them, as a server does
    that outlived who started it.
    """
    start = f"changeover-{kind}-"
    found = [path for path in Path(tempfile.gettempdir()).glob(f"{start}*-*") if _ownerless(path.name, start)]
    if found:
        used = _working_folders()
        for path in found:
            if not any(folder.is_relative_to(path) for folder in used):
                shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}-"))


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """Such a folder, removed at the end of the block."""
    made = scratch(kind)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _ownerless(name: str, start: str) -> bool:
    """Whether a folder's name has the number of a process that is gone."""
    number = name.removeprefix(start).partition("-")[0]
    return number.isdecimal() and not Path("/proc", number).exists()


def _working_folders() -> set[Path]:
    """Of all processes that may be asked; those of one's own user may."""
    found: set[Path] = set()
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.add(entry.readlink())
        except OSError:  # gone, or another user's
            continue
    return found
