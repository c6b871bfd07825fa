"""Settling: a folder is taken once, when it is whole, and never while somebody writes in it."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.lifecycle import settle
from changeover.lifecycle.settle import Doubt, Settler, ends_as_told, inspect, is_still
from changeover.lifecycle.source import MODEL_FILE, FileStamp, Snapshot, stamps
from tests.lifecycle.onnx_files import linear, write

MODEL = linear().SerializeToString()


def snapshot(*files: tuple[str, int], version: int = 1) -> Snapshot:
    return Snapshot({"m": {version: tuple(FileStamp(name, size, 0, 0) for name, size in files)}})


def settler(doubt: Doubt = Doubt.NONE) -> Settler:
    return Settler(lambda *_: doubt, settle=0.5, patience=10)


WHOLE = snapshot(("model.onnx", 10))


def test_a_still_folder_is_taken_once() -> None:
    """Not before the settling time, and never twice for the same content."""
    followed = settler()
    assert [followed.observe(WHOLE, now) for now in (0, 0.4)] == [[], []]
    assert followed.waiting
    assert followed.observe(WHOLE, 0.5) == [("m", 1)]
    assert not followed.waiting
    assert [followed.observe(WHOLE, now) for now in (0.6, 5, 500)] == [[], [], []]


def test_a_growing_folder_is_not_taken() -> None:
    """Each change starts the settling time anew."""
    followed = settler()
    for step in range(100):
        assert followed.observe(snapshot(("model.onnx", step)), step * 0.4) == []
    assert followed.observe(snapshot(("model.onnx", 99)), 99 * 0.4 + 0.5) == [("m", 1)]


def test_changed_content_is_taken_again() -> None:
    """The same number with new bytes settles anew; a folder that went and came back does, too."""
    followed = settler()
    followed.observe(WHOLE, 0)
    assert followed.observe(WHOLE, 1) == [("m", 1)]
    followed.observe(snapshot(("model.onnx", 11)), 2)
    assert followed.observe(snapshot(("model.onnx", 11)), 3) == [("m", 1)]
    followed.observe(Snapshot(), 4)
    followed.observe(WHOLE, 5)
    assert followed.observe(WHOLE, 6) == [("m", 1)]


def test_what_is_forgotten_settles_anew() -> None:
    """The same content is told again, but not before it has been still; half written by now, it is not."""
    followed = settler()
    followed.observe(WHOLE, 0)
    assert followed.observe(WHOLE, 1) == [("m", 1)]
    followed.forget("m", 1)
    followed.forget("m", 2)
    assert [followed.observe(WHOLE, now) for now in (2, 2.4, 2.5, 9)] == [[], [], [("m", 1)], []]
    followed.forget("m", 1)
    unfinished = snapshot(("model.onnx", 10), ("w.data.part", 3))
    assert [followed.observe(unfinished, now) for now in (10, 11, 100)] == [[], [], []]


@pytest.mark.parametrize(
    "name", ["model.onnx.tmp", "w.part", "model.onnx~", "x/w.data.partial", ".model.onnx.swp", "a.TMP"]
)
def test_temporary_names_hold_it_back(name: str) -> None:
    """A copy under way shows by its temporary file, however long it takes."""
    followed = settler()
    unfinished = snapshot(("model.onnx", 10), (name, 5))
    assert [followed.observe(unfinished, now) for now in (0, 1, 100)] == [[], [], []]
    assert not followed.waiting
    followed.observe(WHOLE, 101)
    assert followed.observe(WHOLE, 102) == [("m", 1)]


def test_a_folder_without_a_model_waits() -> None:
    """External data that came first is not a version yet."""
    followed = settler()
    assert [followed.observe(snapshot(("w.data", 10)), now) for now in (0, 100)] == [[], []]
    assert not followed.waiting


def test_a_folder_that_stays_without_a_model_is_told() -> None:
    """Not while it may still be copied; one that has its model, or is gone, is told of no more."""
    followed = settler()
    for now in (0.0, 9.9):
        followed.observe(snapshot(("resnet.onnx", 10)), now)
        assert followed.lacking(now) == ()
    assert followed.lacking(10) == ("m/1 is no version: there is no model.onnx in it.",)
    followed.observe(WHOLE, 11)
    assert followed.lacking(99) == ()


def test_a_busy_folder_waits_for_ever() -> None:
    """While a file is open for writing there is no end of patience."""
    followed = settler(Doubt.BUSY)
    assert [followed.observe(WHOLE, now) for now in (0, 1, 1000)] == [[], [], []]
    assert followed.waiting


def test_a_cut_off_model_is_handed_on_at_last() -> None:
    """After the patience the verification gets it, so that the reason is recorded."""
    followed = settler(Doubt.CUT_OFF)
    assert [followed.observe(WHOLE, now) for now in (0, 1, 9.9)] == [[], [], []]
    assert followed.observe(WHOLE, 10) == [("m", 1)]


def test_a_whole_folder_raises_no_doubt(tmp_path: Path) -> None:
    """Closed files, a model that ends as told."""
    folder = write(tmp_path, MODEL, model_data=b"1" * 10)
    assert inspect(folder, stamps(folder)) is Doubt.NONE


def test_a_file_open_for_writing_is_busy(tmp_path: Path) -> None:
    """A slow writer that pauses longer than the settling time is noticed by its open file."""
    folder = write(tmp_path, MODEL)
    with (folder / "model.data").open("wb"):
        if inspect(folder, stamps(folder)) is Doubt.NONE:
            pytest.skip("no read leases on this file system")
        assert inspect(folder, stamps(folder)) is Doubt.BUSY
    assert inspect(folder, stamps(folder)) is Doubt.NONE


def test_a_writer_that_comes_while_looking_kills_nobody(tmp_path: Path) -> None:
    """Breaking a lease sends a signal: it must be one that does no harm."""
    folder = write(tmp_path, MODEL)
    code = (
        "import fcntl, os, sys, signal\n"
        "from changeover.lifecycle import settle\n"
        "from changeover.lifecycle.source import stamps\n"
        "from pathlib import Path\n"
        "real = fcntl.fcntl\n"
        "def slow(descriptor, command, argument=0):\n"
        "    if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_UNLCK):\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            try: os.open(sys.argv[1] + '/model.onnx', os.O_WRONLY | os.O_NONBLOCK)\n"
        "            except BlockingIOError: os._exit(7)\n"
        "            os._exit(0)\n"
        "        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "    return real(descriptor, command, argument)\n"
        "fcntl.fcntl = slow\n"
        "print(settle.inspect(Path(sys.argv[1]), stamps(Path(sys.argv[1]))).name)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, signal.Signals(-run.returncode)
    if run.stdout.split() != ["7", "NONE"]:
        pytest.skip("no read leases on this file system")


def test_a_cut_off_model_is_noticed(tmp_path: Path) -> None:
    """A copy that stopped in the middle."""
    folder = write(tmp_path, MODEL[: len(MODEL) - 3])
    assert inspect(folder, stamps(folder)) is Doubt.CUT_OFF
    (folder / "model.onnx").write_bytes(b"")
    assert inspect(folder, stamps(folder)) is Doubt.CUT_OFF


def test_what_cannot_be_read_is_left_for_the_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a network that was replaced at its server, or of a sick disk, opens and gives no bytes."""

    def sick(*_: object) -> bool:
        raise OSError(errno.ESTALE, "Stale file handle")

    folder = write(tmp_path / "1", linear())
    monkeypatch.setattr(settle, "ends_as_told", sick)
    assert inspect(folder, stamps(folder)) is Doubt.NONE


def test_links_are_left_for_the_seal(tmp_path: Path) -> None:
    """What is refused anyway is no reason to wait."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "1" / "pipe")
    assert inspect(tmp_path / "1", stamps(tmp_path / "1")) in (Doubt.NONE, Doubt.CUT_OFF)


@given(cut=st.integers(0, len(MODEL) - 1))
def test_every_cut_inside_the_graph_is_noticed(cut: int) -> None:
    """A model cut anywhere but between two outermost fields does not end as told."""
    boundaries = {size for size in range(len(MODEL)) if ends_as_told(io.BytesIO(MODEL[:size]), size)}
    assert len(boundaries) <= 4
    assert ends_as_told(io.BytesIO(MODEL[:cut]), cut) is (cut in boundaries)
    assert ends_as_told(io.BytesIO(MODEL), len(MODEL))


@given(data=st.binary(max_size=200))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    """No input loops for ever or raises."""
    assert ends_as_told(io.BytesIO(data), len(data)) in (True, False)


def test_a_folder_that_nobody_watched(tmp_path: Path) -> None:
    """It is still when nothing changed for so long, no file has a temporary name, and none is open for writing."""
    folder = write(tmp_path / "1", linear())
    assert is_still(folder, 0.0)
    assert not is_still(folder, 60.0)
    with (folder / MODEL_FILE).open("ab"):
        assert not is_still(folder, 0.0)
    (folder / "weights.part").touch()
    assert not is_still(folder, 0.0)
    (folder / "weights.part").unlink()
    (folder / MODEL_FILE).write_bytes((folder / MODEL_FILE).read_bytes()[:-3])
    assert not is_still(folder, 0.0), "a cut-off file is waited for"
