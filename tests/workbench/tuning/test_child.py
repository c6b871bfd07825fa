"""The process of a setting, and what goes wrong with it."""

from __future__ import annotations

import os
import sys

import pytest

from changeover.errors import ModelRejected
from changeover.workbench.tuning.child import Child

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def child(code: str) -> Child:
    return Child([sys.executable, "-c", code])


def test_it_is_asked_by_lines() -> None:
    """What was asked comes back, more than a pipe holds at once too."""
    one = child(ECHO)
    try:
        assert one.ask(30, do="this", many=[1, 2]) == {"do": "this", "many": [1, 2]}
        assert len(one.ask(30, text="x" * 300_000)["text"]) == 300_000
    finally:
        one.end()


def test_a_crash_says_how() -> None:
    """The signal, or the exit code; and it stays one."""
    killed = child("import os, sys\nsys.stdin.readline()\nos.kill(os.getpid(), 11)")
    with pytest.raises(ModelRejected, match="SIGSEGV") as caught:
        killed.ask(30, do="load")
    assert caught.value.reason == "setting_crashed"
    with pytest.raises(ModelRejected, match="exit code 7"):
        child("import sys\nsys.exit(7)").ask(30, do="load")


def test_a_hang_is_ended() -> None:
    """No answer in time is one that is not waited for, and the process is gone."""
    one = child("import signal\nsignal.pause()")
    with pytest.raises(ModelRejected, match="no answer") as caught:
        one.ask(0.2, do="measure")
    assert caught.value.reason == "setting_hung"
    with pytest.raises(ProcessLookupError):
        os.kill(one._process.pid, 0)


def test_what_it_says_is_raised() -> None:
    """The reason and the sentence of the process."""
    one = child('import sys\nsys.stdin.readline()\nprint(\'{"failed": "load_failed", "detail": "no such operator"}\')')
    try:
        with pytest.raises(ModelRejected, match="no such operator") as caught:
            one.ask(30, do="load")
        assert caught.value.reason == "load_failed"
    finally:
        one.end()


def test_the_real_one_answers() -> None:
    """The module of the subject comes up and says that nothing is loaded."""
    one = Child()
    try:
        with pytest.raises(ModelRejected, match="nothing is loaded"):
            one.ask(60, do="weigh", rows=1, callers=1)
    finally:
        one.end()


def test_one_that_cannot_be_started() -> None:
    """As where there is no room for another process."""
    with pytest.raises(ModelRejected, match="cannot be started: No such file") as caught:
        Child(["/no/such/program"])
    assert caught.value.reason == "setting_crashed"
