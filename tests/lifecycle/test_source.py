"""Reading a repository: which folders are versions, what is ignored, and what changed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.lifecycle import source
from changeover.lifecycle.source import (
    Changes,
    FileStamp,
    Snapshot,
    changes,
    is_model_name,
    scan,
    stamps,
    version_folder,
    version_number,
)

STAMPS = st.lists(st.builds(FileStamp, st.sampled_from("ab"), st.integers(0, 2), st.just(0), st.just(0)), max_size=2)
SNAPSHOTS = st.builds(
    Snapshot,
    st.dictionaries(
        st.sampled_from(["m", "n"]), st.dictionaries(st.integers(1, 3), STAMPS.map(tuple), max_size=3), max_size=2
    ),
)


def put(path: Path, data: bytes = b"1") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_versions_are_found_with_all_their_files(tmp_path: Path) -> None:
    """Numbers below names; nested files are part of a version, the plan and golden sets beside it are none."""
    put(tmp_path / "mnist" / "2" / "model.onnx", b"22")
    put(tmp_path / "mnist" / "2" / "golden" / "a.npz")
    put(tmp_path / "mnist" / "10" / "model.onnx")
    put(tmp_path / "mnist" / "model.yaml")
    put(tmp_path / "mnist" / "golden" / "x.npz")
    put(tmp_path / "mnist" / "config.pbtxt")
    put(tmp_path / "mnist" / "classes.txt")
    put(tmp_path / "a.b-c_D9" / "1" / "model.onnx")
    found = scan(tmp_path)
    assert {name: list(versions) for name, versions in found.models.items()} == {"a.b-c_D9": [1], "mnist": [2, 10]}
    assert [(stamp.name, stamp.size) for stamp in found.models["mnist"][2]] == [("golden/a.npz", 1), ("model.onnx", 2)]
    assert found.ignored == ()
    assert version_folder(tmp_path, "mnist", 2) == tmp_path / "mnist" / "2"


def test_what_is_no_version_is_named(tmp_path: Path) -> None:
    """Misspelt names, files and links are told to the operator; hidden ones are passed over in silence."""
    put(tmp_path / "m" / "1" / "model.onnx")
    put(tmp_path / "m" / "latest" / "model.onnx")
    put(tmp_path / "m" / "01" / "model.onnx")
    put(tmp_path / "m" / "7")
    (tmp_path / "m" / "8").symlink_to(tmp_path / "m" / "1")
    put(tmp_path / "no name" / "1" / "model.onnx")
    (tmp_path / "linked").symlink_to(tmp_path / "m")
    put(tmp_path / ".git" / "1" / "model.onnx")
    put(tmp_path / "m" / ".ipynb_checkpoints" / "x")
    put(tmp_path / "README.md")
    found = scan(tmp_path)
    assert {name: list(versions) for name, versions in found.models.items()} == {"m": [1]}
    named = {Path(sentence.split(" is ")[0]).name for sentence in found.ignored}
    assert named == {"latest", "01", "7", "8", "no name", "linked"}


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    """One to itself, or below a file, cannot be followed at all; it must not hide the models beside it."""
    put(tmp_path / "m" / "1" / "model.onnx")
    put(tmp_path / "file")
    for name, target in (("loop", "loop"), ("below", "file/x"), ("nowhere", "absent")):
        (tmp_path / name).symlink_to(target)
        (tmp_path / "m" / str(len(name))).symlink_to(target)
    found = scan(tmp_path)
    assert {name: list(versions) for name, versions in found.models.items()} == {"m": [1]}
    named = {Path(sentence.split(" is ")[0]).name for sentence in found.ignored}
    assert named == {"loop", "below", "nowhere", "4", "5", "7"}


def test_an_entry_that_cannot_be_told_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that says nothing of its entries asks for each, and may have gone away by then."""

    class Gone:
        name, path = "mnist", "mnist"

        def is_symlink(self) -> bool:
            raise OSError(errno.EIO, "Input/output error")

        def is_dir(self, **_: bool) -> bool:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(source, "_entries", lambda *_: [Gone()])
    assert scan(tmp_path).models == {}


def test_a_missing_repository_is_empty_and_named(tmp_path: Path) -> None:
    """Nothing raises; the operator is told."""
    found = scan(tmp_path / "absent")
    assert found.models == {}
    assert len(found.ignored) == 1


def test_links_inside_a_version_are_stamps_of_the_link(tmp_path: Path) -> None:
    """The scan does not follow: sealing will refuse it by name."""
    put(tmp_path / "big", b"x" * 1000)
    put(tmp_path / "m" / "1" / "model.onnx")
    (tmp_path / "m" / "1" / "w.data").symlink_to(tmp_path / "big")
    assert [stamp.size < 1000 for stamp in stamps(tmp_path / "m" / "1")] == [True, True]


def test_a_stamp_shows_a_replaced_file(tmp_path: Path) -> None:
    """The same size and time with another inode is another file."""
    put(tmp_path / "model.onnx")
    before = stamps(tmp_path)
    put(tmp_path / "new")
    status = os.stat(tmp_path / "model.onnx")
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(tmp_path / "new", tmp_path / "model.onnx")
    after = stamps(tmp_path)
    assert (before[0].size, before[0].mtime_ns) == (after[0].size, after[0].mtime_ns)
    assert before != after


@pytest.mark.parametrize("name", ["mnist", "a", "A.b-c_9", "9", "x" * 128])
def test_model_names(name: str) -> None:
    """Names that a path of the API can carry."""
    assert is_model_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a b", "a/b", "ä", "x" * 129, "a\n", "%41"])
def test_no_model_names(name: str) -> None:
    """Dots in front, spaces, slashes, other alphabets."""
    assert not is_model_name(name)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("20260131", 20260131), ("9" * 18, 10**18 - 1)])
def test_version_numbers(text: str, number: int) -> None:
    """Positive numbers."""
    assert version_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "+1", "1.0", "v1", "\uff11", "1 ", "9" * 19])
def test_no_version_numbers(text: str) -> None:
    """Zero, leading zeros, signs, other digits, too long."""
    assert version_number(text) is None


@given(before=SNAPSHOTS, after=SNAPSHOTS)
def test_changes_lead_from_one_snapshot_to_the_other(before: Snapshot, after: Snapshot) -> None:
    """Whatever two snapshots hold: added, changed and removed together explain the second."""
    found = changes(before, after)
    keys = set(before.folders()) - set(found.removed) | set(found.added)
    assert keys == set(after.folders())
    assert set(found.changed) == {
        key for key in keys - set(found.added) if before.folders()[key] != after.folders()[key]
    }
    assert changes(after, after) == Changes()
