"""What clients are told of a version beside its signature."""

from __future__ import annotations

import msgspec
import pytest

from changeover.errors import ModelRejected
from changeover.rollout.described import described
from changeover.rollout.loading import Loading
from changeover.rollout.plan import Plan
from tests.rollout.memory_fleet import signature
from tests.rollout.stage import Stage


def test_configuration_and_labels_come_from_beside_the_model(stage: Stage) -> None:
    """The parsed file, and paths of label files; nothing where there is nothing."""
    told = signature()
    (output,) = told.outputs
    loading = Loading(1, 1, stage.artifact(1), Plan())
    folder = stage.folder / "m"
    folder.mkdir()
    assert described(loading, folder, told) == described(loading, None, told) == (None, {})
    (folder / "config.pbtxt").write_text("max_batch_size: 4 # four")
    (folder / "classes.txt").write_text("a\nb\n")
    loading.plan = msgspec.structs.replace(Plan(), labels={output.name: "classes.txt"})
    assert described(loading, folder, told) == ({"max_batch_size": 4}, {output.name: str(folder / "classes.txt")})


@pytest.mark.parametrize(
    ("config", "labels", "reason"),
    [
        ("input { name: 'nobody' }", {}, "config_mismatch"),
        ("max_batch_size: one", {}, "invalid_config"),
        ("", {"nobody": "classes.txt"}, "labels_unreadable"),
        ("", {None: "gone.txt"}, "labels_unreadable"),
    ],
)
def test_what_does_not_fit_refuses_a_new_version_only(
    stage: Stage, config: str, labels: dict[str | None, str], reason: str
) -> None:
    """One that was chosen before serves without it, for what serves must come up again after a restart."""
    told = signature()
    folder = stage.folder / "m"
    folder.mkdir()
    (folder / "config.pbtxt").write_text(config)
    named = {output or told.outputs[0].name: file for output, file in labels.items()}
    loading = Loading(1, 1, stage.artifact(1), msgspec.structs.replace(Plan(), labels=named))
    with pytest.raises(ModelRejected) as refused:
        described(loading, folder, told)
    assert refused.value.reason == reason
    loading.chosen = True
    assert described(loading, folder, told) == (None, {})
