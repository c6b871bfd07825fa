"""Whether recorded calls reach the disk in an order that a power cut cannot harm; a SIGKILL cannot show a missing sync.

1. What is renamed into place was synchronised before: each of its files after the last write, and its folders.
2. A rename is made durable, by a sync of the folder it leads to, before the journal speaks of it.
3. What was written to the journal is synchronised before anybody is told: before the next message.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from tests.durability.points import Call

_WRITES = ("write", "writev", "pwrite64", "ftruncate")
_SYNCS = ("fsync", "fdatasync")
_LOG = "journal.sqlite-wal"


def violations(calls: Sequence[Call]) -> list[str]:
    """A sentence for each place where the order is wrong."""
    return [*_unsynchronised_renames(calls), *_renames_not_kept(calls), *_told_too_early(calls)]


def _renames(calls: Sequence[Call]) -> list[tuple[int, str]]:
    return [(index, call.path) for index, call in enumerate(calls) if call.name.startswith("rename")]


def _unsynchronised_renames(calls: Sequence[Call]) -> list[str]:
    found = []
    for index, moved in _renames(calls):
        dirty: set[str] = set()
        for call in calls[:index]:
            if not call.path.startswith(moved):
                continue
            if call.name in _SYNCS:
                dirty.discard(call.path)
            elif call.name in _WRITES:
                dirty.add(call.path)
            elif call.name in ("openat", "mkdir", "mkdirat"):
                dirty |= {call.path, str(PurePosixPath(call.path).parent)} - {str(PurePosixPath(moved).parent)}
        found += [f"{path} was not synchronised before {moved} was renamed" for path in sorted(dirty)]
    return found


def _renames_not_kept(calls: Sequence[Call]) -> list[str]:
    found = []
    for index, moved in _renames(calls):
        for call in calls[index + 1 :]:
            if call.name in _SYNCS and call.path == str(PurePosixPath(moved).parent):
                break
            if call.path == _LOG:
                found.append(f"the journal speaks of {moved} before its rename is durable")
                break
    return found


def _told_too_early(calls: Sequence[Call]) -> list[str]:
    found, dirty = [], False
    for call in calls:
        if call.path == _LOG:
            dirty = call.name in _WRITES or (dirty and call.name not in _SYNCS)
        elif call.name == "sendmsg" and dirty:
            found.append(f"call {call.number} tells what the journal has not synchronised")
    return found
