"""What a model file is: labels, parameters, size."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.workbench.described import described, model_path, read
from tests.interface.adapting import FLOAT, image_model
from tests.workbench.files import shaped, written


@pytest.mark.parametrize("text", ['["a", "b"]', "{0: 'a', 1: 'b'}", '{"1": "b", "0": "a"}', "a, b", "a\nb"])
def test_labels_of_the_metadata(tmp_path: Path, text: str) -> None:
    """As a list or numbered, in JSON or Python's words, or simply one after the other."""
    path = Path(written(tmp_path, "m", shaped(("x", FLOAT, ["N"]), names=text)))
    assert described(path, read(path)).labels == ("a", "b")


@pytest.mark.parametrize("text", [b"a\nb\nc\n", b"a\nb\nc", b"a\r\nb\r\nc\r\n", b"\xef\xbb\xbfa\nb\nc"])
def test_labels_of_a_file(tmp_path: Path, text: bytes) -> None:
    """One a line in a file beside the version, or beside its folder, as the server reads it: the last needs no end."""
    (tmp_path / "1").mkdir()
    (tmp_path / "labels.txt").write_bytes(text)
    path = Path(written(tmp_path / "1", "model", image_model()))
    assert described(path, read(path)).labels == ("a", "b", "c")
    assert model_path(str(tmp_path / "1")) == path


def test_a_label_file_that_is_none(tmp_path: Path) -> None:
    """An empty one names nothing, and one that is no text is an error with a reason."""
    path = Path(written(tmp_path, "model", image_model()))
    (tmp_path / "classes.txt").write_bytes(b"")
    assert described(path, read(path)).labels == ()
    (tmp_path / "classes.txt").write_bytes(b"a\xff\n")
    with pytest.raises(ModelRejected) as caught:
        described(path, read(path))
    assert caught.value.reason == "labels_unreadable"


def test_numbers_of_a_model(tmp_path: Path) -> None:
    """Parameters, multiplications and what makes the output."""
    path = Path(written(tmp_path, "m", image_model()))
    found = described(path, read(path))
    assert found.parameter_count == 16 * 3 + 3
    assert found.multiplications == 16 * 3
    assert found.ends == {"scores": "Add"}
    assert found.labels == ()
