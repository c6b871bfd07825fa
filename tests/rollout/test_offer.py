"""Which plan a version gets."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.offer import plan_for
from tests.rollout.stage import MODEL, Stage


def test_the_plan_that_counts(stage: Stage) -> None:
    """The version's own, else the model's in the repository, else the defaults; a wrong one says in which file."""
    repository = stage.folder / "models"
    (repository / MODEL).mkdir(parents=True)
    plain, own = stage.artifact(1), stage.artifact(2, "rollout: {strategy: instant, undo_window: 7s}\n")
    settings = Stage(stage.folder, repository=str(repository)).settings
    assert plan_for(plain, MODEL, settings).rollout.undo_window == 600
    (repository / MODEL / "model.yaml").write_text("rollout: {strategy: instant, undo_window: 9s}\n")
    assert plan_for(plain, MODEL, settings).rollout.undo_window == 9
    assert plan_for(own, MODEL, settings).rollout.undo_window == 7
    (repository / MODEL / "model.yaml").write_text("rollout: {undo_windw: 9s}\n")
    with pytest.raises(InvalidPlan, match=r"model\.yaml line 1: rollout\.undo_windw"):
        plan_for(plain, MODEL, settings)


def test_a_plan_that_cannot_be_read(stage: Stage) -> None:
    """It is refused like a wrong one, with the file's name: not ignored, and no end of the controller."""
    repository = stage.folder / "models"
    (repository / MODEL / "model.yaml").mkdir(parents=True)
    settings = Stage(stage.folder, repository=str(repository)).settings
    with pytest.raises(InvalidPlan, match=r"model\.yaml cannot be read"):
        plan_for(stage.artifact(1), MODEL, settings)


def test_a_configuration_beside_the_model_counts_under_the_plan(stage: Stage) -> None:
    """It is looked for where the plan is, and a broken one is refused with its line."""
    repository = stage.folder / "models"
    (repository / MODEL).mkdir(parents=True)
    settings = Stage(stage.folder, repository=str(repository)).settings
    config = repository / MODEL / "config.pbtxt"
    config.write_text("max_batch_size: 16\ninstance_group { count: 2 }\nmodel_warmup {}\n")
    assert plan_for(stage.artifact(1), MODEL, settings).runtime.max_batch == 16
    plan = plan_for(stage.artifact(2, "runtime: {max_batch: 4}\n"), MODEL, settings)
    assert (plan.runtime.max_batch, plan.runtime.instances) == (4, 2)
    config.write_text("max_batch_size: 16\ninstance_groups {}\n")
    with pytest.raises(InvalidPlan, match=r"config\.pbtxt line 2: instance_groups: there is no such field"):
        plan_for(stage.artifact(1), MODEL, settings)
