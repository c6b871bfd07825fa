"""How a child is bound to its parent's life, with real processes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from changeover.testing import wait_for
from changeover.transport import child
from changeover.transport.link import pair

INTRODUCED = """
import time
from changeover.transport import child
bind_to = child.bind_to
child.bind_to = lambda parent: (bind_to(parent), print("bound", flush=True))
child.introduce(*child.arguments())
time.sleep(600)
"""
UNTAUGHT = "import time; time.sleep(600)"
PARENT = f"""
import os, subprocess, sys, time
from changeover.transport.child import bind_to
from changeover.transport.link import Kind, Link, frame, pair
ours, theirs = pair()
if sys.argv[1] == "welcome":
    Link(ours).send(frame(Kind.WELCOME, {{}}))
me, early = os.getpid(), sys.argv[1] == "bound early"
code = {UNTAUGHT!r} if early else {INTRODUCED!r}
child = subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno()), str(me)],
                         pass_fds=[theirs.fileno()], preexec_fn=(lambda: bind_to(me)) if early else None)
theirs.close()
print(child.pid, flush=True)
if sys.argv[1] == "hang up":
    os._exit(0)
time.sleep(600)
"""


def start(how: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A parent that behaves as told, and its child."""
    source = str(Path(sys.modules["changeover"].__file__ or "").parent.parent)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source}
    )
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def ended(child: psutil.Process) -> bool:
    """Whether it is gone."""
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", ["welcome", "no word"])
def test_a_child_dies_with_its_parent(how: str) -> None:
    """Whether it was welcomed or still waits for it."""
    parent, child = start(how)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "bound\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: ended(child), "the child's end", patience=2.0)


def test_a_child_that_was_bound_before_its_first_instruction_need_do_nothing() -> None:
    """Its parent dies as soon as it was started: what binds itself would have to come up first."""
    parent, child = start("bound early")
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    wait_for(lambda: ended(child), "the child's end", patience=2.0)


def test_a_child_whose_parent_died_first_ends_by_itself() -> None:
    """The parent was gone before the child could bind to it: nobody would ever kill it."""
    parent, child = start("hang up")
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    wait_for(lambda: ended(child), "the child's end", patience=5.0)


class _Ended(Exception):
    """What stands for `os._exit` in a test."""


@pytest.mark.parametrize("adopted", [True, False])
def test_a_child_that_got_no_core_for_seconds_asks_once_more(monkeypatch: pytest.MonkeyPatch, adopted: bool) -> None:
    """It was adopted while it had no turn, between the question and the look at the clock; or it never will be."""

    def end(code: int) -> None:
        raise _Ended(code)

    asked, clock, bound = iter([1, 77 if adopted else 1, 77]), iter([100.0, 109.0]), []
    monkeypatch.setattr(child.os, "getppid", lambda: next(asked))
    monkeypatch.setattr(child.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(child.os, "_exit", end)
    monkeypatch.setattr(child, "bind_to", bound.append)
    ours, theirs = pair()
    with ours, theirs, nullcontext() if adopted else pytest.raises(_Ended):
        child.die_with(77, theirs.fileno())
    assert bound == ([77] if adopted else [])
