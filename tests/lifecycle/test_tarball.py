"""Pushed tar streams: only plain files with names that a version has get through."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.seal import seal_tar
from changeover.lifecycle.tarball import belongs, members, pack
from tests.lifecycle.onnx_files import linear, write
from tests.lifecycle.test_seal import packed


def reason(stream: io.BytesIO) -> str:
    with pytest.raises(ModelRejected) as caught:
        _read(stream)
    return caught.value.reason


def _read(stream: io.BytesIO) -> dict[str, bytes]:
    return {member.name: member.read() for member in members(stream)}


def special(name: str, kind: bytes, target: str = "") -> io.BytesIO:
    """A tar stream of one member that is no plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_plain_files_come_through(mode: str) -> None:
    """All names that a version may have, compressed or not; folders are passed over."""
    wanted = {
        name: name.encode()
        for name in (
            "model.onnx",
            "model.yaml",
            "labels.txt",
            "classes.txt",
            "config.pbtxt",
            "model.onnx.data",
            "model.onnx_data",
            "golden/set/input_0.pb",
        )
    }
    assert _read(packed(*wanted.items(), mode=mode)) == wanted
    assert _read(special("golden", tarfile.DIRTYPE)) == {}


def test_what_is_packed_may_be_pushed(tmp_path: Path) -> None:
    """Folders of a repository may have anything in them; what no pushed version has stays behind."""
    (tmp_path / "store").mkdir()
    other = ("README.md", "tokenizer.json", "notes/model.onnx")
    folder = write(tmp_path / "1", linear())
    for name in ("golden/a.npz", *other):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    with (tmp_path / "tar").open("w+b") as file:
        pack(folder, file)
        sealed = seal_tar(file, tmp_path / "store")
    files = {path.relative_to(sealed.folder).as_posix() for path in sealed.folder.rglob("*") if path.is_file()}
    assert files == {"model.onnx", "golden/a.npz"}
    assert not any(map(belongs, other))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../../secret"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
    ],
    ids=["symlink", "hardlink", "fifo", "character", "block", "sparse"],
)
def test_special_members_are_refused(kind: bytes, target: str) -> None:
    """Links and devices, also under a name that is allowed."""
    assert reason(special("model.onnx", kind, target)) in ("tar_member_refused", "tar_unreadable")


@pytest.mark.parametrize(
    "name", ["/model.onnx", "../model.onnx", "golden/../../x.data", "golden/.hidden", "a\nb.data", "./../model.data"]
)
def test_paths_out_of_the_folder_are_refused(name: str) -> None:
    """Absolute, upwards, hidden or unprintable names."""
    assert reason(packed((name, b"1"))) == "artifact_name"


@pytest.mark.parametrize("name", ["run.sh", "lib.so", "1/model.onnx", "weights/w.data", "manifest.json", "golden"])
def test_other_names_are_refused(name: str) -> None:
    """What no version has is not taken, so that a wrongly packed stream is noticed."""
    assert reason(packed((name, b"1"))) == "tar_member_refused"


def test_a_name_that_comes_twice_is_refused() -> None:
    """The second would replace the first."""
    assert reason(packed(("model.onnx", b"1"), ("./model.onnx", b"2"))) == "tar_member_refused"


@pytest.mark.parametrize("data", [b"", b"no tar at all " * 100, b"\x1f\x8b garbage", os.urandom(3000)])
def test_other_streams_are_refused(data: bytes) -> None:
    """Empty, text, a broken gzip, noise."""
    assert reason(io.BytesIO(data)) == "tar_unreadable"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_off_stream_is_refused(tmp_path: Path, mode: str, share: float) -> None:
    """An upload that ends early never becomes an artifact."""
    whole = packed(("model.onnx", os.urandom(200_000)), mode=mode).getvalue()
    with pytest.raises(ModelRejected) as caught:
        seal_tar(io.BytesIO(whole[: int(len(whole) * share)]), tmp_path)
    assert caught.value.reason == "tar_unreadable"
    assert os.listdir(tmp_path) == []


def test_a_giant_header_is_refused_unread() -> None:
    """An extension header that claims 4 GiB is refused before memory is taken for it."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    stream = io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)
    assert reason(stream) == "tar_unreadable"
    assert stream.tell() < 64 * 1024


def test_endless_members_are_refused() -> None:
    """A small compressed stream of very many folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("golden")
        info.type = tarfile.DIRTYPE
        for _ in range(20_001):
            tar.addfile(info)
    buffer.seek(0)
    assert reason(buffer) == "artifact_too_many_files"


def test_errors_of_the_callers_stream_are_not_hidden() -> None:
    """A read error of the spooled upload is not called a bad tar stream."""

    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        next(members(Failing()))  # type: ignore[arg-type]


def test_headers_without_end_are_refused() -> None:
    """Each extends the next one, and the library reads them one inside the other."""
    extension = tarfile.TarInfo("x")
    extension.type, extension.size = tarfile.XHDTYPE, 512
    record = b"12 path=abc\n".ljust(512, b"\0")
    assert reason(io.BytesIO((extension.tobuf() + record) * 3_000)) == "tar_unreadable"
