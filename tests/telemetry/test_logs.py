"""Log lines."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("verbose", "lines"), [(False, 1), (True, 2)])
def test_lines_go_to_stderr_with_their_origin(verbose: bool, lines: int) -> None:
    """One sentence an event; details only when asked for."""
    code = (
        "import logging, changeover.telemetry.logs as l;"
        f"l.configure(verbose={verbose});"
        "logging.getLogger('changeover.x').debug('a detail');"
        "logging.getLogger('changeover.x').info('an event')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == lines
    assert done.stderr.splitlines()[-1].endswith("INFO    changeover.x: an event")
