"""Sealing: equal contents have equal digests, nothing but plain files gets in, and a full disk leaves nothing."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.errors import Internal, ModelRejected
from changeover.lifecycle.artifacts import digests, verify_sealed
from changeover.lifecycle.contents import DEFAULT_LIMITS, SealLimits
from changeover.lifecycle.seal import seal_file, seal_folder, seal_parts, seal_tar
from tests.lifecycle.onnx_files import linear, write
from tests.small_disk import small_disk

MODEL = linear().SerializeToString()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = write(tmp_path / "1", MODEL, model_data=b"\1" * 100)
    (found / "golden").mkdir()
    (found / "golden" / "a.npz").write_bytes(b"golden")
    (found / ".DS_Store").write_bytes(b"left out")
    return found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "256k") as place:
        yield place


def refusal(folder: Path, store: Path, limits: SealLimits = DEFAULT_LIMITS) -> str:
    """Reason for which a folder is refused; nothing is left in the store."""
    with pytest.raises(ModelRejected) as caught:
        seal_folder(folder, store, limits)
    assert os.listdir(store) == []
    return caught.value.reason


def packed(*members: tuple[str, bytes], mode: str = "w") -> io.BytesIO:
    """A tar stream of plain files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def test_a_folder_becomes_an_artifact(folder: Path, store: Path) -> None:
    """Contents, manifest and digest; hidden files stay outside; all of it read-only."""
    artifact = seal_folder(folder, store)
    assert [file.name for file in artifact.manifest.files] == ["golden/a.npz", "model.data", "model.onnx"]
    assert artifact.model.read_bytes() == MODEL
    assert artifact.path == store / artifact.digest
    assert (artifact.path / "manifest.json").read_bytes() == artifact.manifest.to_json()
    modes = {
        os.stat(os.path.join(base, name)).st_mode & 0o222
        for base, _, names in os.walk(artifact.path)
        for name in [".", *names]
    }
    assert modes == {0}
    assert verify_sealed(store, artifact.digest) == artifact


def test_the_source_may_change_afterwards(folder: Path, store: Path) -> None:
    """A sealed copy has its own bytes, also when the source was a hard link."""
    os.link(folder / "model.data", folder / "other.data")
    artifact = seal_folder(folder, store)
    (folder / "model.data").write_bytes(b"overwritten")
    assert verify_sealed(store, artifact.digest).folder.joinpath("other.data").read_bytes() == b"\1" * 100


def test_sealing_twice_is_sealing_once(folder: Path, store: Path) -> None:
    """The same contents give the same artifact, by whatever way they come."""
    first = seal_folder(folder, store)
    inode = first.path.stat().st_ino
    assert seal_folder(folder, store) == first
    tar = packed(("golden/a.npz", b"golden"), ("model.onnx", MODEL), ("./model.data", b"\1" * 100))
    assert seal_tar(tar, store) == first
    assert first.path.stat().st_ino == inode
    assert os.listdir(store) == [first.digest]


def test_a_damaged_artifact_is_mended_by_sealing_again(folder: Path, store: Path) -> None:
    """When the bytes on the disk have changed, the next sealing puts a sound copy in place."""
    artifact = seal_folder(folder, store)
    artifact.model.chmod(0o600)
    artifact.model.write_bytes(b"x" * len(MODEL))
    with pytest.raises(ModelRejected):
        verify_sealed(store, artifact.digest)
    assert seal_folder(folder, store) == artifact
    assert verify_sealed(store, artifact.digest) == artifact
    assert os.listdir(store) == [artifact.digest]


def test_the_digest_depends_on_names_and_bytes(folder: Path, store: Path) -> None:
    """A renamed file and a changed byte each give another digest."""
    first = seal_folder(folder, store).digest
    (folder / "model.data").rename(folder / "weights.data")
    second = seal_folder(folder, store).digest
    (folder / "weights.data").write_bytes(b"\1" * 99 + b"\2")
    third = seal_folder(folder, store).digest
    assert len({first, second, third}) == 3
    assert digests(store) == sorted([first, second, third])


def test_one_file_is_sealed_from_a_stream(store: Path) -> None:
    """A pushed ONNX file becomes `model.onnx`."""
    assert seal_file(io.BytesIO(MODEL), store).model.read_bytes() == MODEL


def test_a_symbolic_link_is_refused(folder: Path, store: Path, tmp_path: Path) -> None:
    """To a file, to a folder, as the model, and as the version folder itself."""
    (tmp_path / "secret").write_text("secret")
    (folder / "extra.data").symlink_to(tmp_path / "secret")
    assert refusal(folder, store) == "artifact_not_regular"
    (folder / "extra.data").unlink()
    (folder / "more").symlink_to(tmp_path, target_is_directory=True)
    assert refusal(folder, store) == "artifact_not_regular"
    (folder / "more").unlink()
    (tmp_path / "2").symlink_to(folder)
    assert refusal(tmp_path / "2", store) == "artifact_not_regular"
    (folder / "model.onnx").rename(tmp_path / "model.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "model.onnx")
    assert refusal(folder, store) == "artifact_not_regular"


def test_a_fifo_is_refused_without_waiting(folder: Path, store: Path) -> None:
    """A FIFO in place of a file would block its reader for ever."""
    os.mkfifo(folder / "pipe.data")
    assert refusal(folder, store) == "artifact_not_regular"


def test_a_socket_is_refused(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is no file."""
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.data")
        assert refusal(folder, store) == "artifact_not_regular"


def test_a_device_is_refused(folder: Path, store: Path) -> None:
    """/dev/zero under another name would never end."""
    try:
        os.mknod(folder / "zero.data", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs privileges")
    assert refusal(folder, store) == "artifact_not_regular"


def test_a_folder_without_a_model_is_refused(folder: Path, store: Path) -> None:
    """Also when it is empty, or not there."""
    (folder / "model.onnx").unlink()
    assert refusal(folder, store) == "artifact_no_model"
    assert refusal(folder / "absent", store) == "source_unreadable"
    with pytest.raises(ModelRejected) as caught:
        seal_tar(packed(("model.data", b"1")), store)
    assert caught.value.reason == "artifact_no_model"


@pytest.mark.parametrize("name", ["a\nb.data", "caf\udce9.data", "a\\b.data", "x" * 201])
def test_unprintable_names_are_refused(folder: Path, store: Path, name: str) -> None:
    """Names that could not be shown or written elsewhere."""
    (folder / name).write_bytes(b"1")
    assert refusal(folder, store) == "artifact_name"


def test_folders_nested_too_deeply_are_refused(folder: Path, store: Path) -> None:
    """Nine levels."""
    deep = folder / "/".join("abcdefghi")
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"1")
    assert refusal(folder, store) == "artifact_name"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (SealLimits(files=2), "artifact_too_many_files"),
        (SealLimits(file_bytes=99), "artifact_too_large"),
        (SealLimits(total_bytes=150), "artifact_too_large"),
    ],
)
def test_limits_hold(folder: Path, store: Path, limits: SealLimits, expected: str) -> None:
    """Number of files, size of one, size of all; for a folder, a tar stream and a single file."""
    assert refusal(folder, store, limits) == expected
    members = [("model.onnx", b"1" * 100), ("model.data", b"1" * 100), ("golden/a", b"1" * 100)]
    with pytest.raises(ModelRejected) as caught:
        seal_tar(packed(*members), store, limits)
    assert caught.value.reason == expected
    if expected == "artifact_too_large":
        with pytest.raises(ModelRejected, match="too large"):
            seal_file(io.BytesIO(b"1" * 200), store, limits)
    assert os.listdir(store) == []


def test_a_sparse_giant_is_refused_by_its_size(folder: Path, store: Path) -> None:
    """A file of 1 TiB that takes no disk is refused before it is read."""
    with (folder / "huge.data").open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(folder, store) == "artifact_too_large"


def test_a_file_that_grows_meanwhile_is_refused(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that comes while the folder is copied is noticed."""
    real_fsync = os.fsync

    def append_then_fsync(descriptor: int) -> None:
        with (folder / "model.data").open("ab") as file:
            file.write(b"more")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", append_then_fsync)
    assert refusal(folder, store) == "artifact_changed"


def test_a_file_that_comes_meanwhile_is_refused(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose list of names changes while it is copied is refused."""
    real_fsync = os.fsync

    def add_then_fsync(descriptor: int) -> None:
        (folder / "late.data").touch()
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", add_then_fsync)
    assert refusal(folder, store) == "artifact_changed"


def test_a_full_disk_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    """The error says what to do, the temporary folder is gone, and with room made it works."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * 100 * 1024)
    store = disk / "artifacts"
    store.mkdir()
    folder = write(tmp_path / "1", MODEL, model_data=b"\1" * 200_000)
    with pytest.raises(Internal) as caught:
        seal_folder(folder, store)
    assert caught.value.reason == "artifacts_unwritable"
    assert os.listdir(store) == []
    ballast.unlink()
    assert verify_sealed(store, seal_folder(folder, store).digest)


def test_a_missing_store_is_said(folder: Path, tmp_path: Path) -> None:
    """The store's folder must exist."""
    with pytest.raises(Internal) as caught:
        seal_folder(folder, tmp_path / "absent")
    assert caught.value.reason == "artifacts_unwritable"


def test_a_file_that_goes_while_it_is_listed_is_a_refusal(
    folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an error that nobody expects: the controller would end by it."""
    real = os.scandir

    class Vanishing:
        """The entries of a folder; the first one is gone when it is looked at."""

        def __init__(self, of: int) -> None:
            self._entries = real(of)

        def __enter__(self) -> list[os.DirEntry[str]]:
            found = list(self._entries)
            (folder / "model_data").unlink()
            return found

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    monkeypatch.setattr(os, "scandir", lambda of: Vanishing(of) if isinstance(of, int) else real(of))
    assert refusal(folder, store) == "source_unreadable"


def test_files_that_came_with_a_call(store: Path) -> None:
    """By their names, which may be refused as in any other source."""
    made = seal_parts({"model.onnx": b"bytes", "more/data": b"x"}, store)
    assert [(file.name, file.size) for file in made.manifest.files] == [("model.onnx", 5), ("more/data", 1)]
    for parts, reason in (
        ({"../up": b"", "model.onnx": b""}, "artifact_name"),
        ({"data": b""}, "artifact_no_model"),
        ({"model.onnx": b"bytes", "golden/a": b"", "golden/a/b": b""}, "artifact_name"),
        ({"model.onnx": b"bytes", "golden/a/b": b"", "golden/a": b""}, "artifact_name"),
    ):
        with pytest.raises(ModelRejected) as caught:
            seal_parts(parts, store)
        assert caught.value.reason == reason
