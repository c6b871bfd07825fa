"""`changeover model samples`: mistakes; that it works is shown with a real server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from changeover.cli.client import ControlClient
from changeover.cli.main import run
from changeover.testing import Server


def test_mistakes(shared_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that nobody asked, one that there is not, a server that there is not: no file is left."""
    control = ["--control", f"http://127.0.0.1:{shared_server.control_port}"]
    target = tmp_path / "s.npz"
    assert run(["model", "samples", "nobody", "--to", str(target), *control]) == 1
    assert run(["model", "samples", "nobody", "--to", str(target), "--control", "http://127.0.0.1:1"]) == 2
    told = capsys.readouterr().err
    assert "[model_not_found]" in told
    assert "[control_unreachable]" in told
    assert not target.exists()


def test_the_file_is_its_owner_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where there was one already, which everybody could read."""
    headers = {"changeover-samples": "3", "changeover-seen": "9", "changeover-left-out": "0"}
    monkeypatch.setattr(ControlClient, "download", lambda *_: SimpleNamespace(body=b"npz", headers=headers))
    for name in ("new.npz", "old.npz"):
        target = tmp_path / name
        if name == "old.npz":
            target.write_bytes(b"before")
            target.chmod(0o644)
        assert run(["model", "samples", "digits", "--to", str(target)]) == 0
        assert (target.stat().st_mode & 0o777, target.read_bytes()) == (0o600, b"npz")
    assert "3 of 9 requests" in capsys.readouterr().out
