"""Every row of `changeover rehearse`, for real: each bad candidate is taken back, and no client has an error of it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from changeover.bench import LoadSpec
from changeover.cli.client import ControlClient
from changeover.rehearsal.cases import Case
from changeover.rehearsal.outcome import Outcome
from changeover.rehearsal.stage import Play, Stage
from tests import onnx_models

MODEL = onnx_models.scale(2).SerializeToString()
X = np.random.default_rng(3).random((16, 4), np.float32)
PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: STEP, hold: 4s, min_requests: 30}, 100%]
  max_hold: 40s
  on_inconclusive: rollback
runtime: {memory_limit: 128MiB, run_timeout: 1s}
"""


@contextmanager
def body() -> Iterator[tuple[IO[bytes], str]]:
    """The bytes that serve already."""
    yield io.BytesIO(MODEL), "application/octet-stream"


def rehearsed(folder: Path, step: str, cases: Sequence[Case]) -> list[Outcome]:
    """The candidates, one after the other, through a plan of one step."""

    def fill(repository: Path) -> None:
        version = repository / "m" / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(MODEL)
        (version.parent / "model.yaml").write_text(PLAN.replace("STEP", step))

    with Stage(Play("m", cases, fill, body, 128 << 20, 60.0, 5.0), folder) as stage:
        stage.control = ControlClient(stage.server.control_url, timeout=30.0)
        expected = {str(version): 2 * X for version in range(1, 9)}
        stage.load = LoadSpec("m", {"x": X}, expected, port=stage.server.http_port, rate=200.0, arrivals="poisson")
        stage.warm_s, stage.certificate_s = 0.3, 0.0
        return [stage.outcome_of(stage.act(number)) for number in range(len(cases))]


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("step", "cases"),
    [
        ("shadow", [Case("labels", "shadow"), Case("healthy")]),
        ("30%", [Case(kind) for kind in ("slow", "error", "nan", "leak", "crash", "hang")]),
    ],
    ids=["shadow", "canary"],
)
def test_every_row(tmp_path: Path, step: str, cases: list[Case]) -> None:
    """The healthy candidate is promoted; of the bad ones nobody gets an error, a late answer or a wrong value."""
    outcomes = rehearsed(tmp_path, step, cases)
    assert {o.kind: (o.phase, o.reason, o.detail) for o in outcomes if not o.right} == {}
    assert {o.kind: o.failures for o in outcomes if o.errors} == {}
    assert {o.kind: (o.wrong, o.late) for o in outcomes if o.wrong or o.late} == {}
