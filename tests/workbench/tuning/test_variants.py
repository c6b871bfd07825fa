"""The model in each precision."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.demo import digits
from changeover.errors import ModelRejected
from changeover.rollout.plan import RuntimePlan
from changeover.workbench.tuning import variants as module
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.variants import Variants
from changeover.workbench.tuning.wish import Objective, Setting, Space, Wish


def test_precisions_are_made_and_compared(tmp_path: Path) -> None:
    """What cannot be had, or answers wrongly, is dropped with its reason; the rest is a file, and batched or not."""
    model, golden = tmp_path / "m.onnx", tmp_path / "golden"
    model.write_bytes(digits.model_bytes("1"))
    golden.mkdir()
    samples = digits.load_samples()
    np.savez(golden / "a.npz", image=samples.inputs(), labels=samples.labels)
    wish = Wish(golden=golden, space=Space(("fp32", "int8_dynamic", "int8_static")), min_accuracy=0.5)
    told: list[str] = []
    with Stable(wish, tmp_path, {"fp32": model}, 60) as stable:
        variants = Variants(wish, stable, tmp_path, told.append)
        assert variants.open(Setting())[0] is True
        variants.make(1e-5, 0.0)
        assert stable.files["int8_static"].is_file()
        assert "int8_static" in variants.wish.space.precisions
        assert variants.checks[Setting("int8_static")]["passed"]
        assert variants.batches("fp32")
        assert not variants.batches("fp16")

        strict = Variants(Wish(golden=golden, min_accuracy=1.0), stable, tmp_path, told.append)
        strict.open(Setting())
        with pytest.raises(ModelRejected) as caught:
            strict.check(Setting(level="basic"))
        assert caught.value.reason == "tune_inaccurate"


def test_generated_inputs_calibrate_nothing(tmp_path: Path) -> None:
    """int8_static is dropped where nothing recorded is at hand, and the reason is told."""
    model = tmp_path / "m.onnx"
    model.write_bytes(digits.model_bytes("1"))
    wish = Wish(space=Space(("fp32", "int8_static")))
    told: list[str] = []
    with Stable(wish, tmp_path, {"fp32": model}, 60) as stable:
        variants = Variants(wish, stable, tmp_path, told.append)
        variants.open(Setting())
        variants.make(1e-5, 0.0)
    assert variants.dropped["int8_static"][0] == "no_calibration"
    assert variants.wish.space.precisions == ("fp32",)
    assert "[no_calibration]" in told[0]


class Patient:
    """A process that says how long it would have been waited for."""

    def __init__(self, *_: object) -> None:
        self.asked: list[tuple[float, dict[str, Any]]] = []
        everyone.append(self)

    def ask(self, patience: float, **asked: Any) -> dict[str, Any]:
        self.asked.append((patience, asked))
        return {"passed": True}

    def end(self) -> None:
        pass


everyone: list[Patient] = []


def test_patience_grows_with_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour's budget compares answers for minutes: what was asked for has time, and so has a conversion."""
    monkeypatch.setattr(module, "Child", Patient)
    wish = Wish(budget=3600)
    stable = Stable(wish, tmp_path, {"fp32": tmp_path / "m.onnx"}, 900)
    stable.rows = tmp_path / "rows.npz"
    variants = Variants(wish, stable, tmp_path, print)
    variants.row_seconds = 0.1
    everyone.clear()
    variants.check(Setting())
    ((patience, asked),) = everyone[0].asked
    assert asked["samples"] > 1000
    assert patience > 2 * 2 * asked["samples"] * 0.1
    variants._convert("fp16", time.monotonic() + 900)
    assert everyone[1].asked[0][0] > 600


@pytest.mark.parametrize(("objective", "wanted"), [("throughput", True), ("latency", False)])
def test_batches_where_the_plan_has_none(tmp_path: Path, objective: Objective, wanted: bool) -> None:
    """They are tried for throughput, so it is found out whether rows may be put together."""
    model = tmp_path / "m.onnx"
    model.write_bytes(digits.model_bytes("1"))
    wish = Wish(objective, base=RuntimePlan(max_batch=1))
    with Stable(wish, tmp_path, {"fp32": model}, 60) as stable:
        variants = Variants(wish, stable, tmp_path, print)
        variants.open(wish.default)
        assert variants.batches("fp32") is wanted
