"""`changeover model samples`: mistakes; that it works is shown with a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

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
