"""`changeover sequence …` against a scripted control port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from changeover.cli import sequence
from changeover.cli.exits import Exit
from changeover.cli.main import run
from tests.cli.fake import SEQUENCES, FakeControl, usual


@pytest.fixture
def control() -> Iterator[FakeControl]:
    with usual() as fake:
        yield fake


def asked(control: FakeControl) -> object:
    return json.loads(control.seen[-1].body)


def test_the_list(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    """A number and a text of the same digits are told apart."""
    assert run(["sequence", "list", "digits", "--control", control.url]) == Exit.DONE
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert lines[1][:4] == ["42", "2", "9", "4"]
    assert lines[2][:2] == ['"42"', "1"]
    assert "2 live; version 2 takes 1024" in text


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_list_for_programs(control: FakeControl, capsys: pytest.CaptureFixture[str], form: str) -> None:
    """The document of the control port as it is."""
    assert run(["sequence", "list", "digits", "-o", form, "--control", control.url]) == Exit.DONE
    text = capsys.readouterr().out
    assert (json.loads(text) if form == "json" else yaml.safe_load(text)) == SEQUENCES


def test_no_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, and no empty table."""
    empty = SEQUENCES | {"sequences": [], "live": 0}
    with FakeControl({"GET /v1/models/m/sequences": (200, empty | {"model": "m"})}) as control:
        assert run(["sequence", "list", "m", "--control", control.url]) == Exit.DONE
    assert "no live sequence of m" in capsys.readouterr().out


def test_one_with_its_states(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    """Type and shape of each."""
    assert run(["sequence", "show", "digits", "42", "--control", control.url]) == Exit.DONE
    text = capsys.readouterr().out
    assert "9, 4 of them since" in text
    assert "[1, 1, 32]" in text
    assert asked(control) == {"id": 42}


@pytest.mark.parametrize(("word", "name"), [("42", 42), ('"42"', "42"), ("a/b", "a/b"), ('"', '"'), ("٤", "٤")])
def test_ids(word: str, name: int | str) -> None:
    """ASCII digits are a number, anything else a text."""
    assert sequence.identity(word) == name


def test_an_end(control: FakeControl, capsys: pytest.CaptureFixture[str]) -> None:
    """What became of it is one sentence."""
    assert run(["sequence", "end", "digits", '"42"', "--control", control.url]) == Exit.DONE
    assert capsys.readouterr().out == "42 of digits: ended in version 2\n"
    assert asked(control) == {"id": "42"}


def test_out_and_in(control: FakeControl, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What export prints is what import sends."""
    assert run(["sequence", "export", "digits", "42", "--control", control.url]) == Exit.DONE
    file = tmp_path / "42.json"
    file.write_text(capsys.readouterr().out)
    assert run(["sequence", "import", "digits", str(file), "--control", control.url]) == Exit.DONE
    assert asked(control) == {"form": "changeover-sequence/1", "id": 42}
    assert "imported" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", None])
def test_what_is_no_document(control: FakeControl, tmp_path: Path, text: str | None) -> None:
    """It is refused before anything is sent."""
    file = tmp_path / "42.json"
    if text is not None:
        file.write_text(text)
    assert run(["sequence", "import", "digits", str(file), "--control", control.url]) == Exit.USAGE
    assert control.seen == []


def test_an_unknown_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    """The server's sentence and reason."""
    refusal = 404, {"error": "no sequence 7 of m lives", "reason": "sequence_not_found"}
    with FakeControl({"POST /v1/models/m/sequences/end": refusal}) as control:
        assert run(["sequence", "end", "m", "7", "--control", control.url]) != Exit.DONE
    assert "sequence_not_found" in capsys.readouterr().err
