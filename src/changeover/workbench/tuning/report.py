"""What a tuning found, as one document; and the files that it leaves. Pure, but for `write`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from changeover.interface.steps import Step
from changeover.lifecycle.source import PLAN_FILE
from changeover.rollout.plan import RuntimePlan
from changeover.rollout.yaml_text import read_yaml
from changeover.workbench.tuning.gain import Gain, Slice, figure
from changeover.workbench.tuning.halving import Entry
from changeover.workbench.tuning.last import Arm
from changeover.workbench.tuning.variants import Variants
from changeover.workbench.tuning.wish import Setting, Wish

Document = dict[str, Any]
_TUNED: Final = ("instances", "intra_op_threads", "optimization", "providers", "max_batch")
_WORDS: Final = {
    "latency": "the median run of one row takes {} less time",
    "p99": "the 99th percentile of a run of one row is {} lower",
    "throughput": "a row takes {} less time with full batches",
    "memory": "its process takes {} less memory",
}


@dataclass(frozen=True, slots=True)
class Found:
    """All that a tuning found; `answer` is None where the default is kept."""

    wish: Wish
    variants: Variants
    offered: Sequence[str]
    default: Entry
    entries: Sequence[Entry]
    base: Arm
    arms: Sequence[Arm]
    answer: Arm | None
    seconds: float


def document(found: Found) -> Document:
    """For people and programs; every number is finite or None."""
    wish, answer = found.wish, found.answer
    setting = answer.setting if answer is not None else wish.default
    remarks = _remarks(found, setting)
    return {
        "objective": wish.objective,
        "budget_s": wish.budget,
        "spent_s": round(found.seconds, 1),
        "cores": wish.cores,
        "providers": list(found.offered),
        "inputs": found.variants.rows.source,
        "default": {**_setting(wish.default), **_figures(found.base)},
        "answer": {**_setting(setting), **_figures(answer or found.base)},
        "kept": answer is None,
        "gain": _gain(answer.gain) if answer is not None else None,
        "accuracy": found.variants.checks.get(setting) if answer is not None else None,
        "sentence": _sentence(found),
        "remarks": remarks,
        "finalists": [_finalist(one) for one in found.arms],
        "settings": [_entry(found.default, found)] + [_entry(one, found) for one in found.entries],
        "dropped": [
            {"precision": name, "reason": reason, "detail": detail}
            for name, (reason, detail) in found.variants.dropped.items()
        ],
        "runtime": runtime(wish.base, setting),
    }


def runtime(base: RuntimePlan, setting: Setting) -> Document:
    """Section `runtime` of the plan: what was tuned, and what the plan said besides."""
    told: Document = msgspec.to_builtins(setting.under(base))
    plain: Document = msgspec.to_builtins(RuntimePlan())
    return {name: value for name, value in told.items() if name in _TUNED or value != plain[name]}


def plan_text(section: Document, before: str = "", interface: tuple[Step, ...] | None = None) -> str:
    """A `model.yaml` with this `runtime`; what else the one before says is kept, its comments are not.

    Args:
        section: as `runtime` gives it.
        before: text of the plan that counted.
        interface: the steps, empty where they are in the model's file by now; None: what the one before says.
    """
    plan = read_yaml(before, PLAN_FILE)[0] if before.strip() else None
    fields: Document = dict(plan) if isinstance(plan, dict) else {}
    steps: Document = {"interface": msgspec.to_builtins(interface)} if interface is not None else {}
    return yaml.safe_dump({**fields, **steps, "runtime": section}, sort_keys=False, allow_unicode=True)


def write(folder: Path, files: Mapping[str, Path], text: str) -> None:
    """A version's folder.

    Args:
        folder: new, or an empty one.
        files: by their names in it.
        text: of the plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)  # without its mode: what a server has sealed may not be written to
    (folder / PLAN_FILE).write_text(text, "utf-8")


def _setting(setting: Setting) -> Document:
    return {
        "name": str(setting),
        "precision": setting.precision,
        "optimization": setting.level,
        "intra_op_threads": setting.threads,
        "instances": setting.instances,
        "max_batch": setting.max_batch,
        "providers": list(setting.providers),
    }


def _figures(arm: Arm) -> Document:
    speeds = _speeds([one for sitting in arm.sittings for one in sitting])
    return {**speeds, "memory_bytes": round(sum(arm.memory) / len(arm.memory)) if arm.memory else None}


def _speeds(slices: Sequence[Slice]) -> Document:
    row = figure("throughput", slices)
    return {
        "p50_us": _number(figure("latency", slices) * 1e6),
        "p99_us": _number(figure("p99", slices) * 1e6),
        "rows_per_s": _number(1 / row) if 0 < row < math.inf else None,
    }


def _entry(one: Entry, found: Found) -> Document:
    ratio = 1.0 if one is found.default else one.ratio(found.wish.objective, found.default)
    return {
        **_setting(one.setting),
        "ratio": _number(ratio),
        **_speeds(one.slices),
        "memory_bytes": one.memory,
        "rounds": one.rounds,
        "reason": one.reason or None,
        "detail": one.detail or None,
    }


def _finalist(arm: Arm) -> Document:
    return {
        **_setting(arm.setting),
        **_figures(arm),
        "gain": _gain(arm.gain),
        "speed": _gain(arm.speed),
        "reason": arm.reason or None,
        "detail": arm.detail or None,
    }


def _gain(gain: Gain | None) -> Document | None:
    if gain is None:
        return None
    return {
        "ratio": _number(gain.ratio), "low": _number(gain.low), "high": _number(gain.high), "sittings": gain.sittings
    }  # fmt: skip


def _sentence(found: Found) -> str:
    answer = found.answer
    if answer is not None and answer.gain is not None:
        gain = answer.gain
        words = _WORDS[found.wish.objective].format(f"{1 - gain.ratio:.1%}")
        return (
            f"{answer.setting}: {words} than by the default (95 % between {1 - gain.high:.1%} and {1 - gain.low:.1%})"
        )
    measured = [one for one in found.arms if one.gain is not None and not one.reason]
    if not measured:
        return "the default is kept: no other setting was better, and as right, in the measurements before the final"
    best = min(measured, key=lambda one: one.gain.ratio if one.gain else math.inf)
    if best.gain is None or not math.isfinite(best.gain.high):
        return "the default is kept: the budget was too short for a comparison that says anything"
    return (
        f"the default is kept: of the best other setting ({best.setting}) the gain is not certain, "
        f"{1 - best.gain.ratio:.1%} (95 % between {1 - best.gain.high:.1%} and {1 - best.gain.low:.1%})"
    )


def _remarks(found: Found, setting: Setting) -> list[str]:
    variants = found.variants
    told = []
    if variants.batches("fp32") and not variants.batches(setting.precision):
        told.append(
            f"in {setting.precision} the rows of one batch influence each other, so a server does not batch requests: "
            "under high load it answers fewer than the default"
        )
    if found.answer is not None and variants.rows.source == "generated":
        told.append("measured and compared on generated inputs; a golden set (--golden) tells more")
    return told


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
