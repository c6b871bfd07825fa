"""When a version folder may be taken: half-written files never are.

A folder is settled when nothing in it changed for `SETTLE_SECONDS`, no file has a temporary name, none is open for
writing, and the model file ends where its outermost fields say that it ends. A model file that stays cut off for
`PATIENCE_SECONDS` is handed on all the same: the verification then records why it is refused. A folder renamed into
place needs no more than the settling time.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from changeover.lifecycle.source import MODEL_FILE, FileStamp, Snapshot, stamps

SETTLE_SECONDS: Final = 0.5
"""A copy of several files pauses between them for a few milliseconds, a writer's flush for less than this."""

PATIENCE_SECONDS: Final = 10.0
"""How long a cut-off model file is waited for after its last change."""

_TEMPORARY: Final = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")


class Doubt(enum.Enum):
    """What speaks against taking a folder that has been still for long enough."""

    NONE = "nothing"
    CUT_OFF = "the model file looks cut off"
    BUSY = "a file is open for writing"


Probe = Callable[[str, int, tuple[FileStamp, ...]], Doubt]
"""Looks into the folder of a (model, version) that has been still; see `inspect`."""


@dataclass(slots=True)
class _Watched:
    stamps: tuple[FileStamp, ...]
    since: float
    taken: bool = False


@dataclass(slots=True)
class Settler:
    """Follows snapshots of a repository and tells once for each content of a folder that it has settled.

    Attributes:
        probe: asked when a folder has been still for `settle` seconds.
        settle: seconds without a change.
        patience: seconds without a change after which a cut-off model file is handed on.
    """

    probe: Probe
    settle: float = SETTLE_SECONDS
    patience: float = PATIENCE_SECONDS
    _watched: dict[tuple[str, int], _Watched] = field(default_factory=dict)

    def observe(self, snapshot: Snapshot, now: float) -> list[tuple[str, int]]:
        """Take in a snapshot; the (model, version) pairs that settled with it, each content once.

        Args:
            snapshot: what the repository holds.
            now: of a clock that never goes back, seconds.
        """
        folders = snapshot.folders()
        for gone in self._watched.keys() - folders.keys():
            del self._watched[gone]
        return [key for key, stamps in folders.items() if self._settled(key, stamps, now)]

    def forget(self, model: str, version: int) -> None:
        """Have a folder settle anew, whatever was told of it; not while a snapshot is being taken in."""
        self._watched.pop((model, version), None)

    @property
    def waiting(self) -> bool:
        """Whether some folder could settle without a further change, so that looking again soon makes sense."""
        return any(not watched.taken and _could_settle(watched.stamps) for watched in self._watched.values())

    def lacking(self, now: float) -> tuple[str, ...]:
        """Sentences on folders that were still for `patience` seconds and have no model file."""
        return tuple(
            f"{model}/{version} is no version: there is no {MODEL_FILE} in it."
            for (model, version), watched in self._watched.items()
            if now - watched.since >= self.patience and all(stamp.name != MODEL_FILE for stamp in watched.stamps)
        )

    def _settled(self, key: tuple[str, int], stamps: tuple[FileStamp, ...], now: float) -> bool:
        watched = self._watched.get(key)
        if watched is None or watched.stamps != stamps:
            self._watched[key] = _Watched(stamps, now)
            return False
        still = now - watched.since
        if watched.taken or still < self.settle or not _could_settle(stamps):
            return False
        doubt = self.probe(*key, stamps)
        if doubt is Doubt.BUSY or (doubt is Doubt.CUT_OFF and still < self.patience):
            return False
        watched.taken = True
        return True


def _could_settle(stamps: tuple[FileStamp, ...]) -> bool:
    names = {stamp.name for stamp in stamps}
    return MODEL_FILE in names and not any(name.lower().endswith(_TEMPORARY) for name in names)


def inspect(folder: Path, stamps: tuple[FileStamp, ...]) -> Doubt:
    """Look into a folder that has been still.

    What cannot be opened or read is no reason to wait: sealing it will say what is wrong.
    """
    for stamp in stamps:
        with contextlib.suppress(OSError):
            doubt = _inspect_file(folder, stamp)
            if doubt is not Doubt.NONE:
                return doubt
    return Doubt.NONE


def _inspect_file(folder: Path, stamp: FileStamp) -> Doubt:
    descriptor = os.open(folder / stamp.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        if _open_for_writing(descriptor):
            return Doubt.BUSY
        if stamp.name == MODEL_FILE and not ends_as_told(file, stamp.size):
            return Doubt.CUT_OFF
    return Doubt.NONE


def is_still(folder: Path, seconds: float) -> bool:
    """Whether a folder that nobody watched may be taken: unchanged for so long, and nothing looks half-written."""
    changed = max(path.lstat().st_ctime for path in [folder, *folder.rglob("*")])
    quiet = time.time() - changed
    found = stamps(folder)
    if quiet < seconds or not _could_settle(found):
        return False
    doubt = inspect(folder, found)
    return doubt is Doubt.NONE or (doubt is Doubt.CUT_OFF and quiet >= PATIENCE_SECONDS)


def _open_for_writing(descriptor: int) -> bool:
    # A read lease is refused while anybody has the file open for writing. An opener who comes while we hold it for
    # these microseconds would have SIGIO sent to us, which kills by default, hence the harmless signal. File systems
    # and owners for which leases do not work say so by another error: then the settling time alone decides.
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def ends_as_told(file: IO[bytes], size: int) -> bool:
    """Whether a protobuf file's outermost fields end exactly at its end, without reading what is inside them.

    A file cut off while it was copied does not pass; contents that are no protobuf at all mostly do not either.

    Args:
        file: unbuffered and seekable, at any position.
        size: its size, bytes.
    """
    position = 0
    while 0 <= position < size:
        file.seek(position)
        position += _field_size(file.read(20))
    return position == size and size > 0


def _field_size(head: bytes) -> int:
    """Size of the field that starts here, with its tag; far negative when none can start so."""
    impossible = -(2**63)
    tag, used = _varint(head, 0)
    if not used:
        return impossible
    match tag & 7:
        case 0:
            end = _varint(head, used)[1]
            return end or impossible
        case 1:
            return used + 8
        case 2:
            length, end = _varint(head, used)
            return end + length if end else impossible
        case 5:
            return used + 4
        case _:
            return impossible


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """The number at `start` and the position behind it; position 0 when it does not end."""
    value = 0
    for index, byte in enumerate(data[start : start + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, start + index + 1
    return 0, 0
