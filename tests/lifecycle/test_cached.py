"""The cache's folder: entries, leftovers of dead workers, and removal in an order that leaves no half truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from changeover.lifecycle import cached
from changeover.lifecycle.retention import least_used
from changeover.runtime.cache import CacheEntry, entry


def published(folder: Path, name: str, size: int = 100) -> CacheEntry:
    """An entry as a worker writes it."""
    made = entry(str(folder), name)
    made.fresh.write_bytes(bytes(size))
    made.publish()
    return made


def aged(made: CacheEntry, seconds: int) -> None:
    """The entry was written so many seconds ago."""
    for path in (made.path, made.path.with_suffix(".sha256")):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_entries_are_read_as_workers_write_them(tmp_path: Path) -> None:
    """With the size of both files, and nothing else that lies there."""
    made = published(tmp_path, "a", 100)
    (tmp_path / "README").write_text("not an entry")
    [graph] = cached.graphs(tmp_path)
    assert (graph.name, graph.size) == (made.path.stem, 100 + 64)


def test_a_hit_is_a_use(tmp_path: Path) -> None:
    """The entry that a worker took last stays, although it is older."""
    old, new = published(tmp_path, "old"), published(tmp_path, "new")
    aged(old, 100)
    aged(new, 50)
    assert least_used(cached.graphs(tmp_path), 200)[0].name == old.path.stem
    assert old.read()
    assert least_used(cached.graphs(tmp_path), 200)[0].name == new.path.stem


def test_a_removed_entry_is_gone_with_its_digest(tmp_path: Path) -> None:
    """Removing it twice is no error; a worker that comes now finds none."""
    made = published(tmp_path, "a")
    [graph] = cached.graphs(tmp_path)
    cached.remove(tmp_path, graph)
    cached.remove(tmp_path, graph)
    assert not made.read()
    assert list(tmp_path.iterdir()) == []


def test_half_an_entry_counts_and_goes(tmp_path: Path) -> None:
    """What a crash left between two files takes room, too."""
    made = published(tmp_path, "a")
    made.path.with_suffix(".sha256").unlink()
    [graph] = cached.graphs(tmp_path)
    assert graph.size == 100
    cached.remove(tmp_path, graph)
    assert list(tmp_path.iterdir()) == []


def test_what_dead_workers_were_writing_is_swept(tmp_path: Path) -> None:
    """A living worker's file stays, and so do entries."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, made = entry(str(tmp_path), "mine").fresh, published(tmp_path, "a")
    mine.write_bytes(b"half")
    theirs = mine.with_name(mine.name.replace(str(os.getpid()), str(dead.pid)))
    theirs.write_bytes(b"half")
    theirs.with_suffix(".digest").write_bytes(b"half")
    assert cached.sweep(tmp_path) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        mine.name,
        made.path.name,
        made.path.with_suffix(".sha256").name,
    }


def test_what_is_no_entry_is_left_alone(tmp_path: Path) -> None:
    """A copy that somebody made beside an entry is neither counted nor in the way."""
    made = published(tmp_path, "a")
    made.path.rename(made.path.with_suffix(".bak"))
    made.path.with_suffix(".sha256").unlink()
    assert cached.graphs(tmp_path) == []


def test_weights_count_each_for_itself(tmp_path: Path) -> None:
    """A file of weights is older or newer than a graph, and goes without one; a half-written one is swept."""
    name = "a" * 64
    (tmp_path / f"{name}.weights").write_bytes(bytes(1000))
    os.utime(tmp_path / f"{name}.weights", (1, 1))
    made = published(tmp_path, "a", 100)
    going = least_used(cached.graphs(tmp_path), 500)
    assert [(graph.name, graph.size) for graph in going] == [(name, 1000)]
    cached.remove(tmp_path, going[0])
    assert made.read()
    assert [graph.size for graph in cached.graphs(tmp_path)] == [164]
    for left in (f".{name}.weights.4194305.tmp", f".{'b' * 40}.onnx.4194305.data"):
        (tmp_path / left).write_bytes(b"half")
    assert cached.sweep(tmp_path) == 2
