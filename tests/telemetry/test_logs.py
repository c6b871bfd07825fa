"""Log lines."""

from __future__ import annotations

import json
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


def test_json_lines_have_what_is_known() -> None:
    """Told with the line, or by whoever works on it; of tasks made meanwhile too, and nobody else."""
    code = """
import asyncio, logging, changeover.telemetry.logs as l
l.configure(form="json", process="gateway")
log = logging.getLogger("changeover.x")
async def work():
    l.mark(rollout="r-1")
    log.info("inside %d", 1, extra={"version": "4", "request_id": "q"})
async def main():
    with l.about(model="m"):
        task = asyncio.create_task(work())
    await task
    log.warning('out"side\\nagain')
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("broke")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    inside, outside, broke = (json.loads(line) for line in done.stderr.splitlines())
    assert inside.pop("time").endswith("Z")
    assert inside.pop("pid") > 0
    assert inside == {
        "level": "info", "logger": "changeover.x", "process": "gateway", "message": "inside 1",
        "model": "m", "version": "4", "rollout": "r-1", "request_id": "q",
    }  # fmt: skip
    assert set(outside) == {"time", "level", "logger", "process", "pid", "message"}
    assert outside["message"] == 'out"side\nagain'
    assert "ZeroDivisionError" in broke["exception"]
