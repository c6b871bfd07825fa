"""Channels to real sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from changeover.runtime import session
from changeover.transport.control import WorkerSpec
from tests.worker.far_end import Gateway, Open


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Open]:
    """Open a channel to a model."""
    opened = []

    def open_(model: onnx.ModelProto) -> Gateway:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        opened.append(Gateway(session.load(spec).session))
        return opened[-1]

    yield open_
    for made in opened:
        made.sock.close()
        made.runner.sock.close()
