"""A tuning as a whole, on models whose best setting is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from changeover.errors import ModelRejected
from changeover.rollout.plan import Optimization, RuntimePlan
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.tune import tune
from changeover.workbench.tuning.wish import Setting
from tests.workbench.tuning.models import SMALL, folding, wish, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    return made


def test_a_better_setting_is_found(tmp_path: Path, folder: Path) -> None:
    """A model that runs without optimisation gains from it, for certain; progress is told on the way."""
    path, told = written(tmp_path, folding()), list[str]()
    found = tune(path, wish(3.0, base=RuntimePlan(optimization=Optimization.OFF)), folder, told.append)
    assert not found.kept
    assert found.answer == Setting()
    assert found.model == path
    assert found.document["gain"]["high"] < 1
    assert found.document["runtime"]["optimization"] == "all"
    assert found.document["accuracy"]["passed"]
    assert any("round 1" in sentence for sentence in told)
    assert any("final, sitting 4" in sentence for sentence in told)


def test_a_slower_setting_is_never_the_answer(tmp_path: Path, folder: Path) -> None:
    """Where only worse ones are tried the default is kept, and this is said."""
    found = tune(written(tmp_path, folding()), wish(3.0), folder)
    assert found.kept
    assert found.answer == found.default == Setting()
    assert "the default is kept" in found.document["sentence"]
    assert found.document["gain"] is None
    assert found.document["answer"]["p50_us"] > 0


def test_a_wrong_answer_is_no_gain(tmp_path: Path, folder: Path) -> None:
    """What is faster and not as right as was asked for is dropped with its reason."""
    asked = wish(3.0, base=RuntimePlan(optimization=Optimization.OFF), max_difference=0.0)
    found = tune(written(tmp_path, folding()), asked, folder)
    assert found.kept
    (dropped,) = [one for one in found.document["settings"] if one["reason"]]
    assert dropped["reason"] == "tune_inaccurate"


def test_without_a_default_there_is_nothing_to_compare_with(tmp_path: Path, folder: Path) -> None:
    """A file that is no model is an error."""
    (tmp_path / "none.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelRejected) as caught:
        tune(tmp_path / "none.onnx", wish(), folder)
    assert caught.value.reason == "load_failed"


def test_batches_and_instances_are_tried_for_throughput(tmp_path: Path, folder: Path) -> None:
    """Both are in the answer's document, and a batch that would take too long is not tried at all."""
    space = replace(SMALL, levels=("all",), instances=(1, 2), batches=(1, 32))
    found = tune(written(tmp_path, folding(32)), wish(3.0, space, objective="throughput"), folder)
    tried = {(one["instances"], one["max_batch"]) for one in found.document["settings"]}
    assert {(1, 32), (2, 32)} <= tried
    assert found.document["answer"]["rows_per_s"] > 0


def test_slow_starts_leave_room_for_one_finalist(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last comparison starts every process four times over: of three that are better only the best is in it."""
    slow = property(lambda _: 100.0, lambda _, __: None)
    monkeypatch.setattr(Stable, "start_seconds", slow, raising=False)
    space = replace(SMALL, levels=("off", "basic", "extended", "all"))
    found = tune(
        written(tmp_path, folding()), wish(3.0, space, base=RuntimePlan(optimization=Optimization.OFF)), folder
    )
    assert len(found.document["finalists"]) == 1
