"""What a push sends, made of bytes in memory (files and folders: the tests of `changeover push`)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from changeover.client.ask import InvalidClient
from changeover.client.upload import ONNX, TAR, packed, plan_text
from changeover.rollout.yaml_text import read_yaml


def test_bytes_go_as_they_are() -> None:
    """One file, one body."""
    body, content_type = packed(b"the graph", None, io.BytesIO())
    assert (body.read(), content_type) == (b"the graph", ONNX)


def test_a_plan_goes_with_the_bytes() -> None:
    """Model and plan in one tar stream, and the server reads the plan as it was meant."""
    plan = {"rollout": {"strategy": "instant", "steps": ["1%", 0.5]}, "private": True}
    body, content_type = packed(b"the graph", plan_text(plan), io.BytesIO())
    assert content_type == TAR
    with tarfile.open(fileobj=body) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert files["model.onnx"] == b"the graph"
    assert read_yaml(files["model.yaml"].decode(), "model.yaml")[0] == plan
    assert plan_text(None) is None


def test_what_cannot_be_packed_is_told(tmp_path: Path) -> None:
    """A plan beside a ready-made stream; a folder without a model."""
    (tmp_path / "v.tar").write_bytes(b"")
    with pytest.raises(InvalidClient, match="put it in there"):
        packed(tmp_path / "v.tar", b"{}", io.BytesIO())
    with pytest.raises(InvalidClient, match=r"holds no model\.onnx"):
        packed(tmp_path, None, io.BytesIO())
