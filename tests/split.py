"""Routing tables of a test's own in a running server: written into its memory, as its controller does (DESIGN §5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from changeover.transport.control import BUCKETS, LoadingEntry, RoutingTable, encode
from changeover.transport.page import RoutePage, TableRecord, TableStore


class Tables:
    """The route page and the table store of the server whose supervisor this is."""

    def __init__(self, supervisor: int) -> None:
        self._page = RoutePage(_opened(supervisor, "changeover-page"), writable=True)
        self._store = TableStore(_opened(supervisor, "changeover-tables"), writable=True)

    def split(self, model: str, active: str, candidate: str, weight: int, **more: Any) -> int:
        """Give the candidate the first `weight` buckets; both versions have a worker. Returns the epoch."""
        records = [(r, msgspec.json.decode(r.data, type=RoutingTable)) for r in self._store.read()]
        mine = [(record, table) for record, table in records if table.model == model]
        entries: dict[str, LoadingEntry] = {e.version: e for _, table in mine for e in table.loadings}
        old, new = entries[active], entries[candidate]
        word, epoch = mine[-1][0].word, max(record.epoch for record, _ in mine) + 1
        buckets = [(count, n) for count, n in ((weight, new.loading), (BUCKETS - weight, old.loading)) if count]
        table = RoutingTable(
            model, word, epoch, buckets, [old, new], old.loading, candidate=new.loading, step="test", **more
        )
        self._store.append(TableRecord(word, epoch, mine[-1][0].term, encode(table)), self._page.words)
        self._page.store(word, epoch)
        return epoch


def _opened(process: int, name: str) -> int:
    """A descriptor for a memfd of another process."""
    folder = Path(f"/proc/{process}/fd")
    for entry in folder.iterdir():
        if f"memfd:{name}" in os.readlink(entry):
            return os.open(entry, os.O_RDWR | os.O_CLOEXEC)
    raise FileNotFoundError(name)
