"""`changeover rollout watch`: lines and documents where there is no terminal, a picture where there is one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
import yaml

from changeover.cli.main import run
from tests.cli.fake import FakeControl, usual
from tests.cli.statuses import FAILED, PROGRESSING, ROLLED_BACK, VALIDATING, WATCHING, Status


def watched(*way: Status) -> FakeControl:
    """A server whose rollout goes this way, one situation a look."""
    left = list(way)
    fake = usual()
    fake.answers["GET /v1/models/digits/rollout"] = (200, way[0])
    fake.answers["GET /v1/rollouts/r-000004"] = lambda: (200, left.pop(0) if len(left) > 1 else left[0])
    return fake


@pytest.mark.parametrize(
    ("way", "code"),
    [((VALIDATING, PROGRESSING, WATCHING), 0), ((PROGRESSING, ROLLED_BACK), 1), ((VALIDATING, FAILED), 2)],
)
def test_it_ends_with_the_verdict(way: tuple[Status, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a change, and the exit code of the last."""
    with watched(*way) as fake:
        assert run(["rollout", "watch", "digits", "--control", fake.url]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[6].rstrip(":") for line in lines] == [status["phase"] for status in way]


def test_one_that_has_ended_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is waited for."""
    with watched(ROLLED_BACK) as fake:
        assert run(["rollout", "watch", "digits", "--control", fake.url]) == 1
        assert len(fake.seen) == 1
    assert capsys.readouterr().out.count("\n") == 1


def test_the_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, and the rollout goes on."""
    with watched(PROGRESSING) as fake:
        assert run(["rollout", "watch", "digits", "--timeout", "0.6", "--control", fake.url]) == 3
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1  # nothing changed, so there was nothing to say
    assert "[wait_timeout]" in captured.err


def test_documents(capsys: pytest.CaptureFixture[str]) -> None:
    """With -o json a document a line, with -o yaml a stream of documents."""
    for form in ("json", "yaml"):
        with watched(PROGRESSING, ROLLED_BACK) as fake:
            assert run(["rollout", "watch", "digits", "-o", form, "--control", fake.url]) == 1
        out = capsys.readouterr().out
        found = [json.loads(row) for row in out.splitlines()] if form == "json" else list(yaml.safe_load_all(out))
        assert found == [PROGRESSING, ROLLED_BACK]


def test_through_the_undo_window(capsys: pytest.CaptureFixture[str]) -> None:
    """With --undo-window the promotion is not the end."""
    with watched(WATCHING, ROLLED_BACK) as fake:
        assert run(["rollout", "watch", "digits", "--undo-window", "--control", fake.url]) == 1
    assert capsys.readouterr().out.count("\n") == 2


def test_a_reader_that_has_read_enough() -> None:
    """`watch | head -1` ends without a word."""
    with watched(PROGRESSING, VALIDATING, PROGRESSING, VALIDATING, PROGRESSING, ROLLED_BACK) as fake:
        command = [sys.executable, "-m", "changeover.cli", "rollout", "watch", "digits", "--control", fake.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "progressing" in process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
            process.wait(30)


def test_in_a_terminal_it_is_a_picture() -> None:
    """A real terminal of 100 columns gets the picture, redrawn, and the last one stays."""
    with watched(PROGRESSING, ROLLED_BACK) as fake:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "changeover.cli", "rollout", "watch", "digits", "--control", fake.url]
        environment = os.environ | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
        with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
            os.close(theirs)
            text = b""
            while chunk := _read(ours):
                text += chunk
            code = process.wait(30)
        os.close(ours)
    shown = text.decode()
    assert code == 1
    assert "\x1b[1A" in shown  # the second picture was drawn over the first
    assert "745 of 1,000 requests" in shown
    assert "error_rate" in shown.rpartition("\x1b[1A")[2]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux: the other side has closed it
        return b""
