"""The command line as scripts use it: exit codes, one document on stdout, one sentence on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from changeover import __version__
from changeover.cli.main import run
from tests.cli.fake import CERTIFICATE, EXPLANATION, MODEL, ROLLOUT, FakeControl, usual


@pytest.fixture
def control() -> Iterator[FakeControl]:
    """A usual server."""
    with usual() as fake:
        yield fake


@pytest.fixture
def model_file(tmp_path: Path) -> str:
    """Some file; the fake does not look inside."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"onnx")
    return str(path)


COMMANDS = [
    (["status"], {"models": [MODEL]}),
    (["status", "digits"], MODEL),
    (["model", "list"], {"models": [MODEL]}),
    (["model", "inspect", "digits"], MODEL),
    (["rollout", "status", "digits"], ROLLOUT),
    (["rollout", "start", "digits", "2"], ROLLOUT | {"phase": "pending"}),
    (["rollout", "list"], {"rollouts": [ROLLOUT]}),
    (["rollout", "history", "digits"], {"rollouts": [ROLLOUT]}),
    (["rollout", "history", "digits", "r-000002"], ROLLOUT),
    (["rollout", "explain", "digits"], EXPLANATION),
    (["rollout", "explain", "digits", "r-000002"], EXPLANATION),
    (["rollout", "pause", "digits"], ROLLOUT | {"phase": "paused"}),
    (["rollout", "resume", "digits"], ROLLOUT | {"phase": "progressing"}),
    (["rollout", "weight", "digits", "25%"], ROLLOUT | {"phase": "progressing"}),
    (["rollout", "promote", "digits"], ROLLOUT | {"phase": "watching"}),
    (["rollout", "abort", "digits"], ROLLOUT | {"phase": "rolled_back"}),
    (["undo", "digits"], ROLLOUT | {"phase": "rolling_back"}),
    (["certificate", "digits"], CERTIFICATE),
    (["certificate", "digits", "r-000002"], CERTIFICATE),
]


@pytest.mark.parametrize(("command", "document"), COMMANDS)
def test_json_and_yaml(
    command: list[str], document: object, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    """With -o json or yaml stdout is exactly one document, the server's own."""
    assert run([*command, "--control", control.url, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run([*command, "--control", control.url, "--output", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == document


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["status"], ["digits", "ready", "succeeded"]),
        (["status", "digits"], ["2@ab12", "active", "4711", "47.0 MB", "holds NaN"]),
        (["model", "list"], ["digits", "2@ab12 ready", "3@ab12 failed"]),
        (
            ["model", "inspect", "digits"],
            ["image", "FP32", "[-1, 1, 28, 28]", "scores", MODEL["versions"][0]["digest"]],
        ),
        (["rollout", "status", "digits"], ["r-000002", "1@cd34 → 2@ab12", "succeeded", "warmup", "all finite"]),
        (["rollout", "start", "digits", "2"], ["r-000002", "pending"]),
        (["rollout", "list"], ["digits", "r-000002", "1@cd34 → 2@ab12", "succeeded"]),
        (["rollout", "history", "digits"], ["r-000002", "1@cd34", "2@ab12", "2026-01-31 12:14:00"]),
        (["rollout", "history", "digits", "r-000002"], ["12:00:40", "progressing", "1%", "judge", "shadow is clear"]),
        (["rollout", "explain", "digits"], EXPLANATION["sentences"]),
        (["rollout", "pause", "digits"], ["paused"]),
        (["undo", "digits"], ["rolling_back"]),
        (["certificate", "digits"], ["0 failed of 12,345", "1@cd34 → 2@ab12", "410 ns", "99.0 MB at most", "warmup"]),
    ],
)
def test_tables(command: list[str], words: list[str], control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    """People see the facts that matter."""
    assert run([*command, "--control", control.url]) == 0
    shown = capsys.readouterr().out
    assert [word for word in words if word not in shown] == []


def test_control_from_the_environment(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CHANGEOVER_CONTROL names the server where no flag does."""
    monkeypatch.setenv("CHANGEOVER_CONTROL", control.url)
    assert run(["status", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["name"] == "digits"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["push"],
        ["push", "digits", "/no/such/file.onnx"],
        ["status", "-o", "xml"],
        ["undo"],
        ["rollout", "status", "digits", "--timeout", "soon"],
        ["rollout", "start", "digits"],
        ["rollout", "start", "digits", "2", "--plan", "/no/such/plan.yaml"],
        ["rollout", "weight", "digits"],
        ["rollout", "lint", "/no/such/plan.yaml"],
        ["rollout", "watch"],
        ["model", "inspect", "models/digits/1/model.onnx"],
        ["push", "models/digits", __file__],
        ["undo", ""],
        ["schema", "-o", "xml"],
        ["status", "--control", "not-an-address"],
        ["status", "--control", "http://127.0.0.1:99999"],
        ["bench"],
        ["bench", "digits", "--fresh", "2"],
        ["bench", "digits", "--url", "digits:8000"],
        ["serve", "/no/such/repository"],
        ["serve", "--http-port", "70000"],
        ["serve", "--host", "192.0.2.1"],
    ],
)
def test_usage_errors_exit_64(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line exits 64 and prints nothing on stdout but help."""
    assert run(arguments) == 64
    captured = capsys.readouterr()
    assert captured.err or "Usage" in captured.out


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((404, {"error": "no model x", "reason": "model_not_found"}), 1, ["no model x", "[model_not_found]"]),
        ((409, {"error": "nothing is kept warm", "reason": "no_standby"}), 1, ["nothing is kept warm", "[no_standby]"]),
        ((413, {"error": "too large", "reason": "too_large"}), 1, ["[too_large]"]),
        ((422, {"error": "no ONNX file", "reason": "onnx_unreadable"}), 1, ["no ONNX file", "[onnx_unreadable]"]),
        ((503, {"error": "starting", "reason": "not_ready"}), 2, ["starting", "[not_ready]"]),
        ((500, {"error": "a defect", "reason": "internal"}), 2, ["a defect"]),
        ((504, {"error": "late", "reason": "deadline_exceeded"}), 3, ["late"]),
        ((500, b"<html>oops</html>"), 2, ["is this a port of a changeover server"]),
        ((200, b"[]"), 2, ["is this a port of a changeover server"]),
    ],
)
def test_errors_of_the_server(
    answer: tuple[int, object], code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whose fault it is; stderr is one line with sentence and reason, stdout is empty."""
    with FakeControl({"POST /v1/models/x/rollout/undo": answer}) as fake:
        assert run(["undo", "x", "--control", fake.url]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert [word for word in words if word not in captured.err] == []


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server the sentence says where it looked and what to do; exit 2."""
    with FakeControl() as gone:
        pass
    assert run(["status", "--control", gone.url]) == 2
    message = capsys.readouterr().err
    assert gone.url in message
    assert "changeover serve" in message
    assert "[control_unreachable]" in message


@pytest.mark.parametrize(
    "command",
    [
        *("", "serve", "push", "status", "undo", "certificate", "bench", "doctor", "demo"),
        *("model list", "model inspect", "rollout status", "rollout start", "rollout watch", "rollout list", "schema"),
        *("rollout history", "rollout explain", "rollout lint", "rollout pause", "rollout resume", "rollout weight"),
        *("rollout promote", "rollout abort"),
    ],
)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and shows how the command is called."""
    assert run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage:" in shown
    if command:
        assert "For example:" in shown
        assert shown.count(f"changeover {command}") >= 2  # the usage line and an example


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"changeover {__version__}\n"


def test_as_a_program(control: FakeControl) -> None:
    """The exit code of `run` is the exit code of the program."""
    base = [sys.executable, "-m", "changeover.cli"]
    good = subprocess.run([*base, "status", "--control", control.url], capture_output=True, timeout=60, check=False)
    bad = subprocess.run([*base, "stauts"], capture_output=True, timeout=60, check=False)
    assert (good.returncode, bad.returncode) == (0, 64)


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_full_disk_is_no_success(form: str, control: FakeControl) -> None:
    """What cannot be written is told in one sentence."""
    command = [sys.executable, "-m", "changeover.cli", "status", "--control", control.url, "-o", form]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == b"changeover: No space left on device\n"


def test_closed_streams_lead_nowhere(control: FakeControl) -> None:
    """With nothing to write to a command does what it does; an error does not go where its result belongs."""
    base = f"exec {sys.executable} -m changeover.cli"
    silent = ["sh", "-c", f"{base} status --control {control.url} <&- >&-"]
    wrong = ["sh", "-c", f"{base} status nobody --control {control.url} <&- 2>&-"]
    good = subprocess.run(silent, capture_output=True, timeout=60, check=False)
    bad = subprocess.run(wrong, capture_output=True, timeout=60, check=False)
    assert (good.returncode, good.stderr) == (0, b"")
    assert (bad.returncode, bad.stdout) == (1, b"")
