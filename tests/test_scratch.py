"""Temporary folders of programs that may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from changeover.scratch import scratch, scratch_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_killed_ones_left_goes_with_the_next(temporary: Path, gone: int) -> None:
    """A living process keeps its folder, and so does another kind and whatever is called otherwise."""
    kept = [f"changeover-demo-{os.getpid()}-abc", "changeover-demo-other", f"changeover-bench-{gone}-abc"]
    for name in (*kept, f"changeover-demo-{gone}-abc", f"changeover-demo-{gone}-def"):
        (temporary / name / "state").mkdir(parents=True)
    made = scratch("demo")
    assert made.name.startswith(f"changeover-demo-{os.getpid()}-")
    assert {path.name for path in temporary.iterdir()} == {made.name, *kept}


@pytest.mark.parametrize("linked", [False, True])
def test_who_still_works_in_one_keeps_it(
    temporary: Path, gone: int, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a server that was left up, also where TMPDIR is a link: its folder goes when it is gone too."""
    if linked:
        (temporary / "real").mkdir()
        (temporary / "link").symlink_to("real")
        temporary = temporary / "link"
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
    left = temporary / f"changeover-demo-{gone}-abc"
    (left / "state").mkdir(parents=True)
    server = subprocess.Popen([sys.executable, "-c", "print('here', flush=True); input()"], cwd=left / "state",
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with server:
        assert server.stdout is not None
        server.stdout.readline()
        scratch("demo")
        assert left.exists()
        server.communicate(b"\n")
    scratch("demo")
    assert not left.exists()


def test_a_folder_for_a_block(temporary: Path) -> None:
    """It goes with the block, whatever ends it."""
    with suppress(RuntimeError), scratch_folder("rehearsal") as made:
        (made / "file").write_text("x")
        assert list(temporary.iterdir()) == [made]
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_who_holds_one_keeps_it(temporary: Path, gone: int) -> None:
    """Such as a process of another container, whose number is none here: until it ends."""
    left = temporary / f"changeover-demo-{gone}-abc"
    left.mkdir()
    script = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_SH); print('here', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        scratch("demo")
        assert left.exists()
        holder.communicate(b"\n")
    scratch("demo")
    assert not left.exists()


@pytest.mark.parametrize("block", [True, False])
def test_one_is_held_by_its_own_process(temporary: Path, block: bool) -> None:
    """So the same goes for those in other containers that look at this one's."""
    script = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with ExitStack() as stack:
        made = stack.enter_context(scratch_folder("demo")) if block else scratch("demo")
        assert made.parent == temporary
        told = subprocess.run([sys.executable, "-c", script, str(made)], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in told.stderr
