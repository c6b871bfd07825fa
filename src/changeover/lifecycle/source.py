"""The watched repository: `REPOSITORY/NAME/VERSION/model.onnx`, as a snapshot of file stamps.

`scan` reads names and stamps only, never contents, and follows no link below the repository. `changes` compares two
snapshots. A removed folder is a change like any other: what serves goes on serving, the controller only warns.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MODEL_FILE: Final = "model.onnx"
"""The file that makes a folder a version."""

PLAN_FILE: Final = "model.yaml"
"""The plan, beside the version folders."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
CONFIG_FILE: Final = "config.pbtxt"
"""Triton's configuration of the model, beside the version folders or in one."""

_NOT_VERSIONS: Final = frozenset({PLAN_FILE, CONFIG_FILE, "golden"})
_MAX_FILES: Final = 10_000
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class FileStamp:
    """One entry of a version folder, without its contents.

    Attributes:
        name: relative to the folder, `/` between parts.
        size: bytes.
        mtime_ns: time of the last change of its contents.
        inode: tells a replaced file from the same one.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a repository holds at one moment.

    Attributes:
        models: model name to version number to the folder's stamps, sorted by name.
        ignored: sentences on what lies there and is no version.
    """

    models: Mapping[str, Mapping[int, tuple[FileStamp, ...]]] = field(default_factory=dict, hash=False)
    ignored: tuple[str, ...] = ()

    def folders(self) -> dict[tuple[str, int], tuple[FileStamp, ...]]:
        """The same by (model, version)."""
        return {
            (model, version): stamps for model, versions in self.models.items() for version, stamps in versions.items()
        }


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two snapshots, as (model, version) pairs in order."""

    added: tuple[tuple[str, int], ...] = ()
    changed: tuple[tuple[str, int], ...] = ()
    removed: tuple[tuple[str, int], ...] = ()


def is_model_name(name: str) -> bool:
    """Whether this may name a model: letters, digits, `.`, `_`, `-`, at most 128, no dot in front."""
    return _NAME.fullmatch(name) is not None


def version_number(text: str) -> int | None:
    """The positive number that the text spells without leading zeros, or `None`."""
    return int(text) if _VERSION.fullmatch(text) else None


def version_folder(repository: Path, model: str, version: int) -> Path:
    """Where a version lies."""
    return repository / model / str(version)


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """What was added, changed and removed from `before` to `after`."""
    old, new = before.folders(), after.folders()
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(key for key in new.keys() & old.keys() if new[key] != old[key])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


def scan(repository: Path) -> Snapshot:
    """Read the repository once. What vanishes or cannot be read meanwhile is left out and named in `ignored`."""
    models: dict[str, dict[int, tuple[FileStamp, ...]]] = {}
    ignored: list[str] = []
    for entry in _entries(repository, ignored):
        if entry.name.startswith(".") or not (_is_link(entry) or _is_folder(entry)):
            continue
        if _is_link(entry):
            ignored.append(f"{entry.path} is a link: models are folders.")
        elif not is_model_name(entry.name):
            ignored.append(f"{entry.path} is no model: use letters, digits, '.', '_' and '-'.")
        else:
            models[entry.name] = _versions(Path(entry.path), ignored)
    return Snapshot(dict(sorted(models.items())), tuple(ignored))


def _versions(folder: Path, ignored: list[str]) -> dict[int, tuple[FileStamp, ...]]:
    versions: dict[int, tuple[FileStamp, ...]] = {}
    for entry in _entries(folder, ignored):
        if entry.name.startswith(".") or entry.name in _NOT_VERSIONS or entry.name.endswith(".txt"):
            continue
        number = version_number(entry.name)
        if number is None:
            ignored.append(f"{entry.path} is no version: its name is not a positive number.")
        elif not _is_folder(entry):
            ignored.append(f"{entry.path} is no version: it is not a folder.")
        else:
            versions[number] = stamps(Path(entry.path))
    return dict(sorted(versions.items()))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one itself; a link is none, whatever it leads to, and need not be followed."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # a file system that has gone away


def _is_link(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink()
    except OSError:
        return False


def stamps(folder: Path) -> tuple[FileStamp, ...]:
    """Stamps of all that lies in a version folder, by name; unreadable folders count as empty."""
    found: list[FileStamp] = []
    _collect(folder, "", found)
    return tuple(sorted(found, key=lambda stamp: stamp.name))


def _collect(folder: Path, prefix: str, found: list[FileStamp]) -> None:
    for entry in _entries(folder, []):
        if len(found) > _MAX_FILES or prefix.count("/") > _MAX_DEPTH:
            return  # far over the limits of a seal, which will say so
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # gone since it was listed: the next scan tells
        name = prefix + entry.name
        if stat.S_ISDIR(status.st_mode):
            _collect(Path(entry.path), name + "/", found)
        else:
            found.append(FileStamp(name, status.st_size, status.st_mtime_ns, status.st_ino))


def _entries(folder: Path, ignored: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        ignored.append(f"{folder} cannot be read: {error.strerror}.")
        return []
