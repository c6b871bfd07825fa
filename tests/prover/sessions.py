"""Real sessions of small models, for tests of the gates."""

from __future__ import annotations

from pathlib import Path

import onnx

from changeover.prover.subject import Subject
from changeover.runtime import session
from changeover.transport.control import WorkerSpec


def subject(folder: Path, model: onnx.ModelProto, *, batchable: bool = True) -> Subject:
    """A loaded version."""
    path = folder / f"{len(list(folder.iterdir()))}.onnx"
    path.write_bytes(model.SerializeToString())
    spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
    return Subject(session.load(spec).session, batchable, 32, 30.0)
