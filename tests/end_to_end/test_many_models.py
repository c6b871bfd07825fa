"""Many models in one server: each answers for itself, also when a large one comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from changeover.testing import Server
from tests import onnx_models
from tests.traffic import Traffic

MODELS = 20


def ask(server: Server, number: int) -> list[float]:
    """What model `number` makes of ones; its answer names it."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}
    answer: dict[str, Any] = server.infer(f"m{number}", {"inputs": [tensor]}).json()
    assert answer["model_name"] == f"m{number}"
    values: list[float] = answer["outputs"][0]["data"]
    return values


@pytest.mark.slow
def test_each_of_many_answers_for_itself(tmp_path: Path) -> None:
    """All come from the repository at the start; nobody notices that a large one is loaded."""
    for number in range(MODELS):
        version = tmp_path / "models" / f"m{number}" / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(onnx_models.scale(number).SerializeToString())
    with Server(tmp_path) as server:
        assert [ask(server, n) for n in range(MODELS)] == [[n] * 4 for n in range(MODELS)]
        with Traffic(server.http_port, "m3", {"1": 3.0}, rate=100) as traffic:
            server.deploy("large", onnx_models.weighty(64).SerializeToString())
            traffic.wait_for_answers(20)
        assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
        assert sum(title.startswith("changeover: worker m") for title in server.titles()) == MODELS
        assert [ask(server, n) for n in range(MODELS)] == [[n] * 4 for n in range(MODELS)]
