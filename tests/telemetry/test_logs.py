"""Log lines."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from changeover.telemetry import logs


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


def test_levels_are_left_out_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The last call counts; a critical line is always written."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    try:
        logs.configure()
        log = logging.getLogger("changeover.test")
        logs.let_through({"info": True, "warning": True, "error": False}, verbose=False)
        logs.let_through({"info": False, "warning": True, "error": True}, verbose=True)
        for write in (log.debug, log.info, log.warning, log.error, log.critical):
            write("a line of %s", write.__name__)
        told = [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines() if "a line of" in line]
        assert told == ["debug", "warning", "error", "critical"]
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]
