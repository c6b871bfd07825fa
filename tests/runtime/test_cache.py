"""The optimised-graph cache's entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.runtime import cache
from changeover.runtime.cache import CacheEntry, entry


def published(folder: Path, content: bytes = b"graph") -> CacheEntry:
    """An entry with content."""
    made = entry(str(folder), "digest", "1.31")
    made.fresh.write_bytes(content)
    made.publish()
    return made


def test_a_published_entry_is_usable(tmp_path: Path) -> None:
    """And nothing temporary is left beside it."""
    made = published(tmp_path)
    assert made.read()
    assert made.path.read_bytes() == b"graph"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_entry_depends_on_everything_it_was_made_for(tmp_path: Path) -> None:
    """Other parts, another place."""
    paths = {entry(str(tmp_path), *parts).path for parts in (("a", "b"), ("b", "a"), ("a",), ("ab",), ("a", "b", ""))}
    assert len(paths) == 5
    assert entry(str(tmp_path), "a").path == entry(str(tmp_path), "a").path


@pytest.mark.parametrize("damage", [b"", b"grap", b"grapi", b"graph and more"])
def test_a_damaged_entry_is_not_used(tmp_path: Path, damage: bytes) -> None:
    """Cut, changed or lengthened."""
    made = published(tmp_path)
    made.path.write_bytes(damage)
    assert not made.read()


def test_a_digest_that_is_no_text_is_none(tmp_path: Path) -> None:
    """Garbage in the file beside an entry is no error."""
    made = published(tmp_path)
    made.path.with_suffix(".sha256").write_bytes(b"\xa5" * 64)
    assert not made.read()


@pytest.mark.parametrize("lost", [".onnx", ".sha256"])
def test_half_an_entry_is_none(tmp_path: Path, lost: str) -> None:
    """A crash between the two renames leaves something that is not used."""
    made = published(tmp_path)
    made.path.with_suffix(lost).unlink()
    assert not made.read()


def test_publishing_again_replaces(tmp_path: Path) -> None:
    """Two workers may write the same entry, one after the other."""
    published(tmp_path, b"first")
    assert published(tmp_path, b"second").read()


def test_publishing_nothing_is_no_error(tmp_path: Path) -> None:
    """A full disk leaves no entry, and no trace."""
    made = entry(str(tmp_path), "digest")
    made.publish()
    assert not made.read()
    assert list(tmp_path.iterdir()) == []


def test_another_processor_has_other_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it can do, on x86 and on arm; by what changes from second to second, never."""
    x86 = "processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2400.1\nflags\t\t: fpu avx2 avx512f\n\n"
    arm = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU part\t: 0xd40\n"
    other = [x86.replace(" avx512f", ""), x86.replace("Some CPU", "Another"), arm, arm.replace(" sve", "")]
    same = [x86.replace("2400.1", "3100.7"), x86 + x86.replace("processor\t: 0", "processor\t: 1")]
    paths = []
    for number, text in enumerate([x86, *other, *same]):
        told = tmp_path / f"cpuinfo{number}"
        told.write_text(text)
        monkeypatch.setattr(cache, "_CPUINFO", told)
        paths.append(entry(str(tmp_path), "digest").path)
    assert len(set(paths[:5])) == 5
    assert set(paths[5:]) == {paths[0]}
