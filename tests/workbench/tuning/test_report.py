"""The document of a tuning, and the files it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from changeover.rollout.plan import Optimization, RuntimePlan, parse_plan
from changeover.workbench.tuning import report
from changeover.workbench.tuning.gain import Slice, compared
from changeover.workbench.tuning.halving import Entry
from changeover.workbench.tuning.last import Arm
from changeover.workbench.tuning.rows import Rows
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.variants import Variants
from changeover.workbench.tuning.wish import Setting, Wish

OTHER = Setting("int8_dynamic", level="extended", threads=2)
RUNS = [Slice(10, 0.1, (0.01,) * 10)]


@pytest.fixture
def found(tmp_path: Path) -> report.Found:
    wish = Wish(cores=2)
    variants = Variants(wish, Stable(wish, tmp_path, {}, 1), tmp_path, print)
    variants.rows = Rows([], batchable=True)
    variants.dropped["fp16"] = ("precision_unsupported", "no operator")
    variants._batches = {"fp32": True, "int8_dynamic": False}
    arm = Arm(OTHER, [RUNS] * 4, [50] * 4, compared([(0.7, 1.0), (0.72, 1.0), (0.68, 1.0), (0.71, 1.0)]))
    default = Entry(Setting(), RUNS, memory=100)
    entries = [Entry(OTHER, RUNS, RUNS, 50, 2), Entry(Setting(threads=2), reason="setting_hung", detail="no answer")]
    return report.Found(
        wish, variants, ["CPUExecutionProvider"], default, entries, Arm(Setting(), [RUNS]), [arm], arm, 9.0
    )


def test_a_gain_is_told(found: report.Found) -> None:
    """With its interval, what was dropped and why, and what the answer costs beside."""
    told = report.document(found)
    json.dumps(told, allow_nan=False)
    assert told["kept"] is False
    assert told["answer"]["precision"] == "int8_dynamic"
    assert "29.8% less time" in told["sentence"]
    assert "95 % between" in told["sentence"]
    assert told["gain"]["sittings"] == 4
    assert [one["reason"] for one in told["settings"]] == [None, None, "setting_hung"]
    assert told["dropped"][0]["reason"] == "precision_unsupported"
    assert "does not batch" in told["remarks"][0]
    assert "generated inputs" in told["remarks"][1]


def test_an_uncertain_gain_keeps_the_default(found: report.Found) -> None:
    """The sentence says by how much, and that it is not certain; or that there was too little time, or nothing left."""
    doubt = Arm(OTHER, [RUNS] * 4, [50] * 4, compared([(0.7, 1.0), (1.3, 1.0), (0.9, 1.0), (1.1, 1.0)]))
    told = report.document(replace(found, arms=[doubt], answer=None))
    assert told["kept"] is True
    assert told["gain"] is None
    assert "not certain" in told["sentence"]
    assert told["runtime"]["optimization"] == "all"
    short = Arm(OTHER, [RUNS], [50], compared([(0.7, 1.0)]))
    assert "too short" in report.document(replace(found, arms=[short], answer=None))["sentence"]
    assert "no other setting" in report.document(replace(found, arms=[], answer=None))["sentence"]


def test_the_plan_keeps_what_is_not_tuned() -> None:
    """Other options of `runtime` and other sections stay, and the text is one that a server reads."""
    base = RuntimePlan(memory_limit=1 << 30, optimization=Optimization.OFF)
    section = report.runtime(base, OTHER)
    text = report.plan_text(section, "rollout: {hold: 5s}\nruntime: {optimization: off}  # told\n")
    plan = parse_plan(text)
    assert plan.rollout.hold == 5.0
    assert plan.runtime == OTHER.under(base)
    assert "queue_limit" not in section
    assert (
        parse_plan(report.plan_text(report.runtime(RuntimePlan(), Setting(level="off")))).runtime.optimization == "off"
    )


def test_a_version_is_written(tmp_path: Path) -> None:
    """Of these files, with the plan that was made."""
    for name in ("int8.onnx", "set", "old.yaml"):
        (tmp_path / name).write_text(name)
    files = {"model.onnx": "int8.onnx", "golden/a.npz": "set", "model.yaml": "old.yaml"}
    report.write(tmp_path / "out", {name: tmp_path / path for name, path in files.items()}, "runtime: {}\n")
    read = {path.name: path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert read == {"model.onnx": "int8.onnx", "a.npz": "set", "model.yaml": "runtime: {}\n"}


def test_steps_that_are_in_the_model_are_not_in_its_plan() -> None:
    """Whatever the plan before said, or a `config.pbtxt` would."""
    before = "interface: [{rename: {x: rows}}]\n"
    assert parse_plan(report.plan_text({}, before)).interface
    told = parse_plan(report.plan_text({}, before, interface=()), config={"interface": [{"rename": {"x": "rows"}}]})
    assert told.interface == ()


def test_a_sealed_version_may_be_tuned(tmp_path: Path) -> None:
    """Nothing in the folders that a server has sealed may be written to; in what is made of them it may."""
    sealed = tmp_path / "files"
    (sealed / "golden").mkdir(parents=True)
    for file in (sealed / "model.onnx", sealed / "golden" / "a.npz"):
        file.write_bytes(b"x")
        file.chmod(0o400)
    for folder in (sealed / "golden", sealed):
        folder.chmod(0o500)
    files = {"model.onnx": sealed / "model.onnx", "golden/a.npz": sealed / "golden" / "a.npz"}
    report.write(tmp_path / "out", files, "runtime: {}\n")
    made = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert all(path.stat().st_mode & 0o200 for path in made)
    assert {path.name for path in made} == {"out", "model.onnx", "model.yaml", "golden", "a.npz"}
