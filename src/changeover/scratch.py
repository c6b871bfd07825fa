"""Temporary folders of programs that may be killed: the next one of the same kind clears up behind them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_kept: Final[list[int]] = []
"""What holds folders until this process ends."""


def scratch(kind: str) -> Path:
    """Make a folder `changeover-KIND-PROCESS-…` in the temporary one, for the caller to remove.

    Those of this kind whose process is gone are removed first, unless somebody still works in them, as a server does
    that outlived who started it, or holds them, as a process of another container does, whose number says nothing here.
    """
    made, held = _made(kind)
    _kept.append(held)
    return made


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """Such a folder, removed at the end of the block."""
    made, held = _made(kind)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(held)


def _made(kind: str) -> tuple[Path, int]:
    """A folder, and what holds it while it is open."""
    start = f"changeover-{kind}-"
    place = Path(tempfile.gettempdir()).resolve()  # as the kernel tells where processes work
    found = [path for path in place.glob(f"{start}*-*") if _ownerless(path.name, start)]
    if found:
        used = _working_folders()
        for path in found:
            if not any(folder.is_relative_to(path) for folder in used):
                _clear(path)
    made = Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}-"))
    held = os.open(made, _FOLDER)
    with suppress(OSError):  # of a file system without locks
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return made, held


def _clear(path: Path) -> None:
    """Remove a folder that nobody holds, and that this user may open."""
    try:
        held = os.open(path, _FOLDER)
    except OSError:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(held)


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
