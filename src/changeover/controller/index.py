"""The index of the model repository, as Triton's clients read it (pure): which versions there are, and what serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from changeover.lifecycle.states import LoadingState
from changeover.records.loadings import LoadingRecord
from changeover.records.versions import VersionRecord
from changeover.rollout.driver import Driver

READY = "READY"
UNAVAILABLE = "UNAVAILABLE"
_GONE = "its folder is no longer in the repository; it serves on"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version; `reason`, if there is any, says why it does not serve, or what is odd with one that does."""

    name: str
    version: str
    state: str
    reason: str = ""


def entries(
    model: str,
    found: Sequence[int],
    driver: Driver | None,
    loadings: Sequence[LoadingRecord],
    versions: Iterable[VersionRecord],
) -> list[Entry]:
    """The versions of one model, by number.

    Args:
        model: its name.
        found: versions in the repository.
        driver: of the model, None for one that was never loaded.
        loadings: from the journal, newest first. Of those that are neither in the repository nor alive only the newest
            is told, for the history of a model is long.
        versions: from the journal.
    """
    told = dict.fromkeys(found, (UNAVAILABLE, "not loaded"))
    for record in reversed(loadings):
        if record.version in told or record is loadings[0]:
            told[record.version] = (UNAVAILABLE, _why(record))
    told |= _alive(driver) if driver is not None else {}
    taken = {record.version for record in versions if record.source == "repository"}
    for version in taken - set(found):
        if told.get(version) == (READY, ""):
            told[version] = (READY, _GONE)
    return [Entry(model, str(version), *told[version]) for version in sorted(told)]


def _alive(driver: Driver) -> dict[int, tuple[str, str]]:
    """What has a worker, or is about to; the active one last, whose number counts."""
    named = {entry.loading for entry in driver.switch.table.loadings} if driver.switch.table else set()
    told = {}
    for loading in sorted(driver.loader.live.values(), key=lambda loading: loading is driver.active):
        if loading.number in named:
            told[loading.version] = (READY, "")
        else:
            ending = loading.state in (LoadingState.READY, LoadingState.DRAINING) and loading is not driver.candidate
            told[loading.version] = ("UNLOADING" if ending else "LOADING", "")
    return told


def _why(record: LoadingRecord) -> str:
    if record.state == LoadingState.FAILED:
        return f"{record.reason}: {record.detail}"
    return "unloaded"
