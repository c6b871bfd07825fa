"""Processes of settings: which share one, and how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from changeover.demo import digits
from changeover.rollout.plan import RuntimePlan
from changeover.transport.session_options import SessionOptions
from changeover.workbench.tuning.child import Child
from changeover.workbench.tuning.rows import Rows
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.wish import Objective, Setting, Wish


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(digits.model_bytes("1"))
    return path


def test_settings_of_one_session_share_a_process(model: Path, tmp_path: Path) -> None:
    """Callers and rows are of the measurement, unless memory is what is measured."""
    one, other = Setting(instances=2, max_batch=8), Setting(max_batch=1)
    stable = Stable(Wish("throughput"), tmp_path, {"fp32": model}, 30)
    assert stable.session_of(one) == stable.session_of(other)
    assert stable.session_of(one) != stable.session_of(Setting(threads=2))
    weighing = Stable(Wish("memory"), tmp_path, {"fp32": model}, 30)
    assert weighing.session_of(one) != weighing.session_of(other)


def test_a_process_is_told_what_a_worker_would_be(model: Path, tmp_path: Path) -> None:
    """The plan's other options are its own too."""
    base = RuntimePlan(memory_limit=1 << 30, session=SessionOptions(arena=False))
    told = Stable(Wish(base=base), tmp_path, {"fp32": model}, 30).spec(Setting(level="basic", threads=2))
    assert (told["optimization"], told["intra_op_threads"], told["memory_limit"]) == ("basic", 2, 1 << 30)
    assert told["session"] == {"arena": False}


def test_no_more_than_there_is_memory_for(model: Path, tmp_path: Path) -> None:
    """The one not used for longest goes; a model that takes everything leaves room for the default and one other."""
    with Stable(Wish(), tmp_path, {"fp32": model}, 60) as stable:
        stable.rows = tmp_path / "rows.npz"
        Rows([digits.load_samples().inputs()[:4]], batchable=True).write(stable.rows)
        stable._bytes[Setting()] = 1 << 50
        stable.make_room(Setting())
        assert stable.most == 2
        del stable._bytes[Setting()]
        first = stable.child(Setting())
        took = stable.start_seconds
        assert took > 0
        assert stable.child(Setting(instances=3)) is first
        assert stable.start_seconds == took  # nothing was started
        assert (stable.memory_of(Setting()) or -1) >= 0
        stable.child(Setting(level="off"))
        assert stable.child(Setting()) is first
        stable.child(Setting(level="basic"))  # the default was used later
        assert stable.child(Setting()) is first
        stable.drop(Setting())
        assert stable.child(Setting()) is not first
        processes = [child._process for child in stable._children.values()]
    assert all(process.returncode is not None for process in processes)
    stable._bytes[Setting()] = 1 << 20
    stable.make_room(Setting())
    assert stable.most > 2


def test_room_for_full_batches(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where throughput counts all processes run them, and what one row takes says little."""
    weighed = {(1, 1): 1 << 20, (32, 2): 1 << 50}

    def ask(_: Child, __: float, **asked: Any) -> dict[str, Any]:
        return {"bytes": weighed[asked["rows"], asked["callers"]]} if asked["do"] == "weigh" else {}

    monkeypatch.setattr(Child, "ask", ask)
    for objective, room in (("throughput", False), ("latency", True)):
        with Stable(Wish(cast(Objective, objective)), tmp_path, {"fp32": model}, 30) as stable:
            stable.rows = tmp_path / "rows.npz"
            stable.make_room(Setting(instances=2))
            assert (stable.most > 2) is room


def test_libraries_come_from_the_folder_that_was_named(model: Path, tmp_path: Path) -> None:
    """As a worker gets them from the server's setting."""
    assert Stable(Wish(custom_ops="/ops"), tmp_path, {"fp32": model}, 30).spec(Setting())["custom_ops"] == "/ops"
