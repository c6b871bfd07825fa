"""A tuned version is a candidate like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from changeover.cli.main import run
from changeover.testing import INSTANT, Server, wait_for
from tests.workbench.tuning.models import folding

UNTUNED = f"{INSTANT}runtime: {{optimization: off}}\n"


def test_what_tuning_finds_is_proposed_and_takes_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same model under other options is a new version: it passes the gates and serves, and its options are seen."""
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(folding(64).SerializeToString())
    (folder / "model.yaml").write_text(UNTUNED)
    with Server(tmp_path / "server") as server:
        control = f"http://127.0.0.1:{server.control_port}"
        assert run(["push", "m", str(folder), "--wait", "--control", control]) == 0
        assert server.model("m")["runtime"]["optimization"] == "off"
        capsys.readouterr()
        command = [
            "tune",
            str(folder),
            "--budget",
            "2s",
            "--precisions",
            "fp32",
            "--levels",
            "off,all",
            "--threads",
            "1",
        ]
        assert run([*command, "--propose", "m", "--control", control, "-o", "json"]) == 0
        proposed = json.loads(capsys.readouterr().out)["proposed"]
        assert proposed["version"] == "2"
        wait_for(lambda: server.model("m")["active"] == "2", "the tuned version's taking over")
        assert server.model("m")["runtime"]["optimization"] == "all"
