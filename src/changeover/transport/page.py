"""The route page and the table store: two memfds that outlive the controller.

The *page* holds one aligned 8-byte word a model, the epoch of the table in force; word 0 tells whether the
server finished its first load. Storing a word is one machine store, so a reader sees the old or the new epoch
and nothing between. The *store* holds the tables themselves as a log in one of two halves; a reader checks each
record's digest and that the half did not change under it. The supervisor keeps both, the controller writes,
gateways map them read-only.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from changeover.errors import Internal

WORDS = 4096
SERVER_WORD = 0
"""Word 0: 1 when every model of the first scan serves or has failed."""
_PAGE_BYTES = WORDS * 8
_HALF = 32 << 20
_KEPT = 16
_COMPACT = 256 << 10
"""Bytes of tables at which the store is first compacted: reading as many takes about a millisecond."""
_STORE_HEADER = 4096
_STORE_BYTES = _STORE_HEADER + 2 * _HALF
_RECORD = struct.Struct("<IIQQI32s4x")
_RECORD_MAGIC = 0x31425443
SAMPLE_AREA = 26 << 20
"""Bytes that one gateway may fill with a sample of recent requests, its index included."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A table as the store holds it: `data` is the encoded routing table."""

    word: int
    epoch: int
    term: int
    data: bytes


def sealed_memfd(name: str, size: int) -> int:
    """A memfd whose size nobody can change, so that no reader can be killed by SIGBUS."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def is_sealed(fd: int) -> bool:
    """Whether the size of a memfd made by somebody else is fixed."""
    try:
        seals: int = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return seals & _SEALS == _SEALS


def read_only(fd: int) -> int:
    """A second description of the same memfd that can only be mapped for reading."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def create_page() -> int:
    """A new route page, all words 0."""
    return sealed_memfd("changeover-page", _PAGE_BYTES)


def create_sample(gateways: int) -> int:
    """Empty memory for a sample of recent requests, with an area for each gateway (`transport/sample.py`; sparse)."""
    return sealed_memfd("changeover-sample", gateways * SAMPLE_AREA)


def create_store() -> int:
    """A new, empty table store (64 MiB, sparse)."""
    return sealed_memfd("changeover-tables", _STORE_BYTES)


class RoutePage:
    """The mapped page."""

    def __init__(self, fd: int, *, writable: bool = False) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(fd, _PAGE_BYTES, mmap.MAP_SHARED, access)
        self.words = memoryview(self._map).cast("Q")
        """The words themselves: `words[i]` is one load, `words[i] = epoch` one store."""

    def store(self, word: int, epoch: int) -> None:
        """The switch."""
        self.words[word] = epoch


class TableStore:
    """The mapped store. One writer, the controller; any number of readers."""

    def __init__(self, fd: int, *, writable: bool = False) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(fd, _STORE_BYTES, mmap.MAP_SHARED, access)
        self._limit = _COMPACT
        self._header = memoryview(self._map)[:24].cast("Q")  # generation (its parity names the half), used

    def append(self, record: TableRecord, in_force: Sequence[int]) -> None:
        """Add a table; when the half has grown, the tables that are still of use move to the other half.

        Args:
            record: the table.
            in_force: epoch in force by word, the page's `words`.

        Raises:
            Internal: the live tables do not fit (reason `table_store_full`).
        """
        packed = _pack(record)
        if self._header[self._used] + len(packed) > self._limit:
            self._compact(len(packed), in_force)
        start = self._start(self._header[0]) + self._header[self._used]
        self._map[start : start + len(packed)] = packed
        self._header[self._used] += len(packed)

    def read(self) -> list[TableRecord]:
        """All tables, oldest first; a record that fails its digest ends the list."""
        while True:
            generation = self._header[0]
            used = self._header[1 + (generation & 1)]
            start = self._start(generation)
            data = self._map[start : start + used]
            if self._header[0] == generation:
                return _unpack_all(data)

    @property
    def _used(self) -> int:
        """Index of the header word that counts the bytes used in the half in force."""
        return 1 + (self._header[0] & 1)

    def _start(self, generation: int) -> int:
        return _STORE_HEADER + (generation & 1) * _HALF

    def _compact(self, need: int, in_force: Sequence[int]) -> None:
        """Keep each word's table in force and its last 16: more than one rollout step and its way back.

        It happens long before the half is full, because a gateway reads the whole store when it prepares.
        """
        kept: dict[int, list[TableRecord]] = {}
        for record in self.read():
            kept.setdefault(record.word, []).append(record)
        data = b"".join(
            _pack(r)
            for word, records in kept.items()
            for r in records
            if r.epoch == in_force[word] or r in records[-_KEPT:]
        )
        self._limit = min(max(_COMPACT, 2 * (len(data) + need)), _HALF)
        if len(data) + need > _HALF:
            raise Internal("the routing tables do not fit the table store", reason="table_store_full")
        following = self._header[0] + 1
        start = self._start(following)
        self._map[start : start + len(data)] = data
        self._header[1 + (following & 1)] = len(data)
        self._header[0] = following


def _pack(record: TableRecord) -> bytes:
    digest = hashlib.sha256(record.data).digest()
    head = _RECORD.pack(_RECORD_MAGIC, record.word, record.epoch, record.term, len(record.data), digest)
    return head + record.data + bytes(-len(record.data) % 8)


def _unpack_all(data: bytes) -> list[TableRecord]:
    records: list[TableRecord] = []
    at = 0
    while at + _RECORD.size <= len(data):
        magic, word, epoch, term, size, digest = _RECORD.unpack_from(data, at)
        body = data[at + _RECORD.size : at + _RECORD.size + size]
        if magic != _RECORD_MAGIC or hashlib.sha256(body).digest() != digest:
            break
        records.append(TableRecord(word, epoch, term, body))
        at += _RECORD.size + size + (-size % 8)
    return records
