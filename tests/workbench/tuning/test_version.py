"""The version that is tuned: what belongs to it, what is measured of it, and what a tuned one is made of."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from changeover.errors import InvalidPlan, ModelRejected
from changeover.interface.ports import own_ports
from changeover.lifecycle.adaptation import adapted, made_from
from changeover.lifecycle.seal import seal_folder
from changeover.workbench.tuning import report
from changeover.workbench.tuning.version import Version, beside, opened, planned
from tests.interface.adapting import steps
from tests.lifecycle.onnx_files import external, linear, write

NAMES = steps({"rename": {"x": "rows"}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`y = x @ w` with its weights in another file, among other things."""
    made = write(tmp_path / "1", linear(external()).SerializeToString(), model_data=bytes(36))
    (made / "golden").mkdir()
    for name in ("golden/a.npz", ".env", "private.txt"):
        (made / name).write_bytes(b"x")
    return made


@pytest.fixture
def room(tmp_path: Path) -> Path:
    made = tmp_path / "room"
    made.mkdir()
    return made


def inputs(version: Version) -> list[str]:
    """Of what is measured."""
    return [port.name for port in own_ports(onnx.load(version.model))[0]]


def test_a_folder_comes_whole_and_a_file_with_its_weights(folder: Path, room: Path) -> None:
    """Nothing else that lies beside a file is taken along: it may be anybody's; hidden files are never."""
    whole, alone = opened(str(folder), None, room), opened(str(folder / "model.onnx"), None, room)
    assert set(whole.files) == {"model.onnx", "model.data", "golden/a.npz", "private.txt"}
    assert set(alone.files) == {"model.onnx", "model.data"}
    assert whole.model == alone.model == folder / "model.onnx"
    report.write(room / "out", alone.tuned(alone.model), "")
    assert onnx.load(room / "out" / "model.onnx").graph.initializer


def test_another_precision_has_its_weights_inside(folder: Path, room: Path) -> None:
    """Those of the model's own file are not part of the tuned version."""
    (room / "int8.onnx").write_bytes(b"made")
    made = opened(str(folder), None, room).tuned(room / "int8.onnx")
    assert made["model.onnx"] == room / "int8.onnx"
    assert set(made) == {"model.onnx", "golden/a.npz", "private.txt"}


def test_the_steps_of_a_plan_are_measured_too(folder: Path, room: Path) -> None:
    """Golden sets and requests are the clients'; the tuned version is the model's own file again, and the steps."""
    version = opened(str(folder), NAMES, room)
    assert (inputs(version), version.steps) == (["rows"], NAMES)
    assert version.tuned(version.model)["model.onnx"] == folder / "model.onnx"
    with pytest.raises(ModelRejected) as caught:
        opened(str(folder), steps({"rename": {"z": "rows"}}), room)
    assert caught.value.reason == "interface_unfit"


@pytest.mark.parametrize("told", [NAMES, None])
def test_a_version_that_a_server_has_adapted(folder: Path, room: Path, tmp_path: Path, told: object) -> None:
    """It is measured as it serves; a tuned one does not say that it was made from what that was made from."""
    (tmp_path / "store").mkdir()
    sealed = adapted(seal_folder(folder, tmp_path / "store"), NAMES, tmp_path / "store")
    version = opened(str(sealed.folder), NAMES if told else None, room)
    assert (inputs(version), version.model) == (["rows"], sealed.folder / "model.onnx")
    for name, made in (("same", version.model), ("other", room / "int8.onnx")):
        (room / "int8.onnx").write_bytes(version.model.read_bytes())
        report.write(room / name, version.tuned(made), "")
        tuned = seal_folder(room / name, tmp_path / "store")
        assert made_from(tuned) is None
        assert [
            port.name for port in own_ports(onnx.load(tuned.folder / "model.onnx", load_external_data=False))[0]
        ] == (["x"] if name == "same" else ["rows"])


def test_a_sealed_version_under_other_steps(folder: Path, room: Path, tmp_path: Path) -> None:
    """The model's own file counts, with its weights, which lie where the version's folder begins."""
    (tmp_path / "store").mkdir()
    sealed = adapted(seal_folder(folder, tmp_path / "store"), NAMES, tmp_path / "store")
    for wanted, name in ((steps({"rename": {"x": "others"}}), "others"), ((), "x")):
        assert inputs(opened(str(sealed.folder), wanted, room)) == [name]


def test_the_plan_that_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was named, the version's, the model's, from wherever; with what a `config.pbtxt` says; or none."""
    model = folder / "model.onnx"
    assert (planned(model, None).plan, planned(model, None).steps) == (None, None)
    (folder.parent / "config.pbtxt").write_text("instance_group [{count: 3 kind: KIND_CPU}]")
    found = planned(model, None).plan
    assert found is not None
    assert found.runtime.instances == 3
    (folder.parent / "model.yaml").write_text("runtime: {max_batch: 4}")
    both = planned(model, None)
    assert both.plan is not None
    assert (both.plan.runtime.instances, both.plan.runtime.max_batch, both.steps) == (3, 4, ())
    (folder / "model.yaml").write_text("runtime: {max_batch: 5}")
    assert planned(model, None).file == folder / "model.yaml"
    monkeypatch.chdir(folder)
    (folder.parent / "golden").mkdir()
    (folder / "model.yaml").rename("old.yaml")
    here = planned(Path("model.onnx"), None)
    assert (here.file, here.plan) == (both.file, both.plan)
    (folder / "golden").rename("old")
    assert beside(Path("model.onnx"), "golden") == folder.parent / "golden"
    assert planned(model, folder.parent / "model.yaml").text == "runtime: {max_batch: 4}"
    (folder / "model.yaml").write_bytes(b"\xff")
    with pytest.raises(InvalidPlan):
        planned(model, None)
