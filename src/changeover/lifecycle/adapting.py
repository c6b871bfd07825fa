"""The process that puts an adapter round a model: the file is hostile, and may end whoever reads it.

`python -m changeover.lifecycle.adapting PARENT FOLDER TARGET`, the steps as JSON on stdin. It writes the adapted model
to TARGET, or a refusal as JSON to stdout.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec

from changeover.errors import ModelRejected
from changeover.interface.merge import adapt
from changeover.interface.steps import Step
from changeover.lifecycle.source import MODEL_FILE
from changeover.lifecycle.verify import verify
from changeover.transport.child import bind_to

REFUSED: Final = 3
"""Exit code with a refusal on stdout."""
SECONDS: Final = 120
"""Of processor time."""
_ROOM: Final = 2 << 30
_COPIES: Final = 8
_LOWEST: Final = 19


class Refusal(msgspec.Struct, frozen=True):
    """Why a model cannot be adapted."""

    reason: str
    message: str


def main() -> int:
    """Adapt one model; the exit code."""
    parent, folder, target = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    bind_to(parent)
    _fence(folder)
    steps = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Step, ...])
    try:
        target.write_bytes(adapted_bytes(folder, steps))
    except ModelRejected as error:
        sys.stdout.buffer.write(msgspec.json.encode(Refusal(error.reason, error.message)))
        return REFUSED
    return 0


def adapted_bytes(folder: Path, steps: tuple[Step, ...]) -> bytes:
    """The model file of a folder with an adapter round it.

    Raises:
        ModelRejected: as `verify` and `adapt`; `model_too_large`.
    """
    from google.protobuf.message import EncodeError
    from onnx import ModelProto

    verify(folder, custom_ops=True)  # whether the plan allows them is the structure gate's to say
    model = ModelProto()
    model.ParseFromString((folder / MODEL_FILE).read_bytes())
    adapt(model, steps)
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise ModelRejected(
            "With its adapter the model is over 2 GiB: keep the weights as external data.", reason="model_too_large"
        ) from None


def _fence(folder: Path) -> None:
    """No more of the machine than this can need."""
    os.nice(_LOWEST)
    most = _ROOM + _COPIES * (folder / MODEL_FILE).stat().st_size
    for kind, limit in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, most), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
