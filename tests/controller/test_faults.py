"""The file of `--faults`: who goes wrong, how, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.controller.faults import Faults, read_faults
from changeover.errors import InvalidRequest
from changeover.transport.control import Fault, WorkerSpec


def spec(model: str, version: str) -> WorkerSpec:
    """As the loader makes it."""
    return WorkerSpec(1, model, version, "d", "p", "c", "e")


def test_each_version_gets_its_own(tmp_path: Path) -> None:
    """One fault or several; other versions and models are left alone."""
    file = tmp_path / "faults.json"
    file.write_text(
        '{"models": {"m": {"2": {"kind": "slow", "after": 9, "factor": 4},'
        ' "3": [{"kind": "error", "rate": 0.5}, {"kind": "leak", "bytes": 8}]}}}'
    )
    faults = read_faults(str(file))
    assert faults.into(spec("m", "2")).faults == (Fault("slow", 9, factor=4.0),)
    assert faults.into(spec("m", "3")).faults == (Fault("error", rate=0.5), Fault("leak", bytes=8))
    assert faults.into(spec("m", "1")) == spec("m", "1")
    assert faults.into(spec("other", "2")) == spec("other", "2")
    assert str(faults) == "m/2 slow; m/3 error, leak"


def test_no_file_no_faults() -> None:
    """As every server of clients."""
    assert read_faults(None) == Faults()
    assert str(Faults()) == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "faults.json"),
        ("{}", "models"),
        ('{"models": {"m": {"2": {"kind": "sulk"}}}}', "kind"),
        ('{"models": {"m": {"2": {"kind": "slow", "factor": 1}}}}', "factor"),
        ('{"models": {"m": {"2": {"kind": "error", "rate": 2}}}}', "rate"),
        ('{"models": {"m": {"2": {"kind": "error", "afterwards": 2}}}}', "afterwards"),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, text: str | None, words: str) -> None:
    """Is refused with the place, before anything starts."""
    file = tmp_path / "faults.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidRequest, match=words) as refused:
        read_faults(str(file))
    assert refused.value.reason == "faults_file"
