"""How a child is bound to its parent's life, with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from changeover.testing import wait_for

CHILD = (
    "import time; from changeover.transport.child import arguments, introduce; introduce(*arguments()); time.sleep(600)"
)
PARENT = f"""
import os, subprocess, sys, time
from changeover.transport.link import Kind, Link, frame, pair
ours, theirs = pair()
if sys.argv[1] == "welcome":
    Link(ours).send(frame(Kind.WELCOME, {{}}))
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(theirs.fileno()), str(os.getpid())],
                         pass_fds=[theirs.fileno()])
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
    wait_for(lambda: child.status() == psutil.STATUS_SLEEPING, "the child to wait")
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    wait_for(lambda: ended(child), "the child's end")


def test_a_child_whose_parent_died_first_ends_by_itself() -> None:
    """The parent was gone before the child could bind to it: nobody would ever kill it."""
    parent, child = start("hang up")
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    wait_for(lambda: ended(child), "the child's end")
