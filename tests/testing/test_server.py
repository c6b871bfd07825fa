"""What a test hears from a server that does not do as it should; all other tests use one that does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from changeover.testing import Outlived, Server


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """The end of its log is in the error."""
    server = Server(tmp_path, faults=tmp_path / "none")
    with pytest.raises(RuntimeError, match=r"(?s)did not start.*No such file"):
        server.start()
    assert not server.running


def test_what_outlives_a_server_is_named(tmp_path: Path) -> None:
    """A process that was seen below it and lives on."""
    server = Server(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server._seen[child.pid] = psutil.Process(child.pid)
    with pytest.raises(Outlived, match=f"process {child.pid}"):
        server.assert_nothing_outlives(0.0)
    child.communicate()


def test_what_was_not_started_has_no_process(tmp_path: Path) -> None:
    """Asking for it is an error, not a wait."""
    server = Server(tmp_path)
    with pytest.raises(RuntimeError, match="was not started"):
        server.wait()
    assert not server.running
