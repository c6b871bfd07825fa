"""`changeover model optimize`: table, JSON, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from changeover.cli.main import run
from changeover.demo import digits

QUICK = ["--seconds", "0.01", "--max-batch", "2"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    place = tmp_path / "digits.onnx"
    place.write_bytes(digits.model_bytes("1"))
    return str(place)


def test_table_and_picture(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says what was fused; the picture is an SVG."""
    place = tmp_path / "m.svg"
    assert run(["model", "optimize", path, "--picture", str(place), *QUICK]) == 0
    assert "Conv + Relu → com.microsoft.FusedConv   2 times" in capsys.readouterr().out
    assert ElementTree.parse(place).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_json_and_a_page(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With -o json stdout is one document, whatever else is written; .html has the figures beside the picture."""
    place = tmp_path / "m.html"
    assert run(["model", "optimize", path, "--levels", "basic", "--picture", str(place), "-o", "json", *QUICK]) == 0
    told = capsys.readouterr()
    assert [level["level"] for level in json.loads(told.out)["levels"]] == ["off", "basic"]
    assert f"the picture is in {place}" in told.err
    assert place.read_text().startswith("<!doctype html>")


def test_mistakes(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A level that is none, and a file that is not there."""
    assert run(["model", "optimize", path, "--levels", "most"]) not in (0, 64)
    assert run(["model", "optimize", str(tmp_path / "none")]) not in (0, 64)
    told = capsys.readouterr().err
    assert "[unknown_level]" in told
    assert "[source_unreadable]" in told
