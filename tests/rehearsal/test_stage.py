"""One candidate after the other on a real private server, under load."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from changeover.bench import LoadSpec
from changeover.cli.client import ControlClient
from changeover.rehearsal.cases import Case
from changeover.rehearsal.stage import Play, Stage
from tests import onnx_models

MODEL = onnx_models.scale(2).SerializeToString()
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def fill(repository: Path) -> None:
    """Version 1, and a plan without steps."""
    version = repository / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(MODEL)
    (version.parent / "model.yaml").write_text("rollout: {strategy: instant, undo_window: 1s}\n")


@contextmanager
def body() -> Iterator[tuple[IO[bytes], str]]:
    """The same bytes."""
    yield io.BytesIO(MODEL), "application/octet-stream"


def test_a_gate_and_a_promotion(tmp_path: Path) -> None:
    """NaN from the load on is caught by the warm-up gate and nobody notices; the healthy candidate is promoted."""
    play = Play("m", [Case("nan", "load"), Case("healthy")], fill, body, 64 << 20, 60.0)
    told: list[str] = []
    with Stage(play, tmp_path, told.append) as stage:
        stage.control = ControlClient(stage.server.control_url)
        stage.warm_s = 0.5
        expected = {str(version): 2 * X for version in range(1, 4)}
        stage.load = LoadSpec("m", {"x": X}, expected, port=stage.server.http_port, rate=100.0)
        bad, healthy = (stage.outcome_of(acted) for acted in (stage.act(0), stage.act(1)))
    assert (bad.caught_by, bad.reason, bad.phase) == ("gate warmup", "output_not_finite", "failed")
    assert (bad.exposed, bad.errors, bad.wrong, bad.late) == (0, 0, 0, 0)
    assert bad.requests > 50
    assert bad.right
    assert healthy.right
    assert healthy.exposed > 20
    assert (healthy.errors, healthy.wrong) == (0, 0)
    assert "nan@load: failed" in told
