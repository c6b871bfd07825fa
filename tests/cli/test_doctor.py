"""`changeover doctor`: each check on this machine, and each kind of trouble."""

from __future__ import annotations

import json
import resource
import socket

import pytest

from changeover.cli import doctor
from changeover.cli.main import run


def test_all_checks_here(capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine that runs the tests nothing fails, and every check says something."""
    assert run(["doctor", "--http-port", "0", "--grpc-port", "0", "--control-port", "0", "-o", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    names = ["python", "onnxruntime", "telemetry", "sealed memory", "quiet loading", "memory", "open files"]
    assert [check["check"] for check in checks] == [*names, "http port", "grpc port", "control port"]
    assert {check["result"] for check in checks} <= {"ok", "warn"}
    assert all(check["detail"] for check in checks)


def test_a_taken_port_is_a_warning() -> None:
    """A port somebody listens on is named, with the flag that avoids it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finding = doctor.port("http port", taken.getsockname()[1])
    assert finding.result == "warn"
    assert "--http-port" in finding.detail


def test_an_old_onnxruntime_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version below the least one, or none, is a failure with the command that helps."""
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.30.9")
    finding = doctor.onnxruntime()
    assert finding.result == "fail"
    assert "pip install" in finding.detail


@pytest.mark.parametrize(("soft", "result"), [(100, "fail"), (1024, "warn"), (65536, "ok")])
def test_open_files(soft: int, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of open files decides how many clients fit."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 65536))
    assert doctor.open_files().result == result


def test_a_failure_makes_exit_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One failed check makes the command fail."""
    monkeypatch.setattr(doctor, "seals", lambda: doctor.Finding("sealed memory", "fail", "no"))
    assert run(["doctor", "--http-port", "0", "--grpc-port", "0", "--control-port", "0"]) == 2
    assert "fail" in capsys.readouterr().out
