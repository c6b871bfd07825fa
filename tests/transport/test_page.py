"""The route page and the table store, in shared memory as they are used."""

from __future__ import annotations

import mmap
import os
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.errors import Internal
from changeover.transport import page
from changeover.transport.page import WORDS, RoutePage, TableRecord, TableStore

NOTHING = [0] * WORDS


def stores() -> tuple[TableStore, TableStore, int]:
    """A writer, a reader and the descriptor."""
    fd = page.create_store()
    reading = page.read_only(fd)
    writer, reader = TableStore(fd, writable=True), TableStore(reading)
    os.close(reading)
    return writer, reader, fd


def record(epoch: int, word: int = 1, data: bytes = b"table") -> TableRecord:
    """A table."""
    return TableRecord(word, epoch, 3, data)


def test_a_store_is_seen_by_all_that_mapped_the_page() -> None:
    """One store of the writer, one load of the reader."""
    fd = page.create_page()
    reading = page.read_only(fd)
    writer, reader = RoutePage(fd, writable=True), RoutePage(reading)
    writer.store(4, 2**63 + 5)
    assert reader.words[4] == 2**63 + 5
    assert reader.words[3] == reader.words[5] == 0
    with pytest.raises(TypeError):
        reader.store(4, 1)
    os.close(fd)
    os.close(reading)


def test_a_readers_descriptor_cannot_be_mapped_for_writing() -> None:
    """The gateways' copy is read-only by the kernel's word, not by agreement."""
    fd = page.create_page()
    reading = page.read_only(fd)
    with pytest.raises(PermissionError):
        mmap.mmap(reading, WORDS * 8, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(fd)
    os.close(reading)


@pytest.mark.parametrize("size", [0, 100, 10_000])
def test_a_sealed_memfd_keeps_its_size(size: int) -> None:
    """Nobody can cut it under a reader's feet, which would kill the reader by SIGBUS."""
    fd = page.sealed_memfd("changeover-test", 4096)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, size)
    assert page.is_sealed(fd)
    os.close(fd)


def test_seals_are_looked_for() -> None:
    """A memfd without them, a partly sealed one and a pipe are found out."""
    import fcntl

    bare = os.memfd_create("changeover-test", os.MFD_ALLOW_SEALING)
    partly = os.memfd_create("changeover-test", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(partly, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    reader, writer = os.pipe()
    assert [page.is_sealed(fd) for fd in (bare, partly, reader)] == [False] * 3
    for fd in (bare, partly, reader, writer):
        os.close(fd)


def test_tables_come_back_in_order() -> None:
    """With word, epoch, term and bytes."""
    writer, reader, fd = stores()
    records = [record(epoch, word=epoch % 3, data=b"x" * epoch) for epoch in range(1, 40)]
    for one in records:
        writer.append(one, NOTHING)
    assert reader.read() == records
    os.close(fd)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.binary(max_size=300)), max_size=30))
def test_any_bytes_come_back(tables: list[tuple[int, bytes]]) -> None:
    """The store does not look into tables."""
    writer, reader, fd = stores()
    records = [TableRecord(word, epoch, 1, data) for epoch, (word, data) in enumerate(tables)]
    for one in records:
        writer.append(one, NOTHING)
    assert reader.read() == records
    os.close(fd)


def test_compaction_keeps_the_table_in_force_and_the_newest() -> None:
    """After thousands of tables the store is small; the last 16 of each word are there, and an old one in force."""
    writer, reader, fd = stores()
    in_force = list(NOTHING)
    in_force[2] = 5
    writer.append(record(5, word=2, data=b"in force"), in_force)
    for epoch in range(6, 40):
        writer.append(record(epoch, word=2), in_force)
    for epoch in range(1, 4000):
        writer.append(record(epoch, data=bytes(500)), in_force)
    found = reader.read()
    assert record(5, word=2, data=b"in force") in found
    assert [r.epoch for r in found if r.word == 2][-16:] == list(range(24, 40))
    assert [r.epoch for r in found if r.word == 1][-16:] == list(range(3984, 4000))
    assert len(found) < 2000
    os.close(fd)


def test_a_store_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live tables that do not fit are an error of their own, and what was there stays readable."""
    monkeypatch.setattr(page, "_HALF", 8000)
    monkeypatch.setattr(page, "_COMPACT", 8000)
    writer, reader, fd = stores()
    for epoch in range(3):
        writer.append(record(epoch, word=epoch, data=bytes(2000)), NOTHING)
    with pytest.raises(Internal) as refused:
        writer.append(record(9, word=9, data=bytes(3000)), NOTHING)
    assert refused.value.reason == "table_store_full"
    assert [r.epoch for r in reader.read()] == [0, 1, 2]
    os.close(fd)


@pytest.mark.parametrize("at", [0, 30, 66])
def test_damage_ends_the_list(at: int) -> None:
    """A record with a changed mark, digest or content is not believed, nor what follows it."""
    writer, reader, fd = stores()
    for epoch in (1, 2, 3):
        writer.append(record(epoch), NOTHING)
    size = len(page._pack(record(1)))
    writer._map[page._STORE_HEADER + size + at] ^= 1
    assert [r.epoch for r in reader.read()] == [1]
    os.close(fd)


def test_a_reader_never_sees_a_half_made_store() -> None:
    """While a writer appends and compacts as fast as it can, each reading gives whole tables up to the newest."""
    writer, reader, fd = stores()
    stop = threading.Event()
    problems: list[str] = []

    def read() -> None:
        newest = 0
        while not stop.is_set():
            epochs = [r.epoch for r in reader.read()]
            if epochs != sorted(epochs) or (epochs and epochs[-1] < newest):
                problems.append(f"{epochs[-3:]} after {newest}")
            newest = epochs[-1] if epochs else newest

    thread = threading.Thread(target=read)
    thread.start()
    generator = random.Random(1)
    for epoch in range(1, 3000):
        writer.append(record(epoch, data=bytes(generator.randrange(2000))), NOTHING)
    stop.set()
    thread.join(10)
    assert problems == []
    assert reader.read()[-1].epoch == 2999
    os.close(fd)
