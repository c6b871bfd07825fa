"""Tuning in a child: what it is given, what its end comes to, and that it never stays behind."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psutil
import pytest

from changeover.controller.adaptive import tuner
from changeover.controller.adaptive.tuner import Outcome, Subject
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.seal import seal_file
from changeover.rollout.plan import parse_plan
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.testing import wait_for
from tests import onnx_models

PLAN = parse_plan("{runtime: {max_batch: 8}, labels: {y: labels.txt}, adaptive: true}")
SCRIPT = """
import json, os, pathlib, sys
parent, source, *arguments = sys.argv[1:]
told = dict(zip(arguments[::2], arguments[1::2]))
assert int(parent) == os.getppid()
{body}
"""
WRITES = """
version = pathlib.Path(told["--write"])
version.mkdir()
(version / "model.onnx").write_bytes(pathlib.Path(source, "model.onnx").read_bytes())
plan = json.loads(pathlib.Path(source, "model.yaml").read_bytes())
requests = open(told["--requests"], "rb").read().decode()
seen = {"plan": plan, "requests": requests, "told": told, "tmp": os.environ["TMPDIR"]}
(version / "seen.json").write_text(json.dumps(seen))
print(json.dumps({"kept": False, "sentence": "twice as fast"}))
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "store").mkdir()
    (tmp_path / "m.onnx").write_bytes(onnx_models.scale(2).SerializeToString())
    with (tmp_path / "m.onnx").open("rb") as file:
        return seal_file(file, tmp_path / "store")


@pytest.fixture
def room(tmp_path: Path) -> Path:
    made = tmp_path / "room"
    made.mkdir()
    return made


def child(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """A tuner that does this."""
    (folder / "a_tuner.py").write_text(SCRIPT.format(body=body))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{':'.join(sys.path)}")
    monkeypatch.setattr(tuner, "_CHILD", "a_tuner")


def tuned(subject: Subject, room: Path, adaptive: AdaptivePlan = AdaptivePlan()) -> Outcome:  # noqa: B008 - frozen
    return asyncio.run(tuner.tune(subject, adaptive, room))


def test_what_it_is_given(artifact: Artifact, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that may be written to, the plan as it counts, the wish of the section; all files are in one folder."""
    child(monkeypatch, tmp_path, WRITES)
    golden = tmp_path / "golden"
    golden.mkdir()
    subject = Subject(artifact, PLAN, golden, b"requests", Path("/ops"))
    found = tuned(subject, room, AdaptivePlan(objective="memory", budget=7))
    assert (found.state, found.sentence) == ("pushed", "twice as fast")
    assert found.version is not None
    seen = json.loads((found.version / "seen.json").read_text())
    assert seen["plan"]["runtime"]["max_batch"] == 8
    assert seen["plan"]["labels"] == {"y": "labels.txt"}
    assert seen["requests"] == "requests"
    assert {name: seen["told"][name] for name in ("--objective", "--budget", "-o")} == {
        "--objective": "memory", "--budget": "7", "-o": "json",
    }  # fmt: skip
    assert seen["told"]["--golden"] == str(golden)
    assert seen["told"]["--custom-ops"] == "/ops"
    assert seen["tmp"] == str(room)
    assert seen["told"]["--requests"].startswith(str(room))
    assert parse_plan(json.dumps(seen["plan"])) == PLAN


@pytest.mark.parametrize(
    ("body", "state", "sentence"),
    [
        ('print(json.dumps({"kept": True, "sentence": "nothing was better"}))', "kept", "nothing was better"),
        ('print(json.dumps({"kept": False, "sentence": "wrote nothing"}))', "kept", "wrote nothing"),
        ('print("on its way", file=sys.stderr); sys.exit("no room [out_of_memory]")', "failed", "no room"),
        ("print('no document')", "failed", "ended with 0"),
        ("os.kill(os.getpid(), 9)", "failed", "ended with -9"),
    ],
)
def test_its_end(
    artifact: Artifact,
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    state: str,
    sentence: str,
) -> None:
    """Nothing better, nothing written, a refusal, nonsense, a death: no version, and a sentence."""
    child(monkeypatch, tmp_path, body)
    found = tuned(Subject(artifact, PLAN, None, b""), room)
    assert (found.state, found.version) == (state, None)
    assert sentence in found.sentence


def test_one_that_does_not_end(artifact: Artifact, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with all that it has begun."""
    begun = tmp_path / "pids"
    body = f"""
import subprocess
other = subprocess.Popen(["sleep", "1000"])
path = pathlib.Path({str(begun)!r})
path.with_suffix(".new").write_text(f"{{os.getpid()}} {{other.pid}}")
path.with_suffix(".new").rename(path)
other.wait()
"""
    child(monkeypatch, tmp_path, body)
    monkeypatch.setattr(tuner, "_BEYOND", 0)
    monkeypatch.setattr(tuner, "_PATIENCE", 3.0)
    found = tuned(Subject(artifact, PLAN, None, b""), room)
    assert (found.state, "not done in time" in found.sentence) == ("failed", True)
    pids = [int(pid) for pid in begun.read_text().split()]
    wait_for(lambda: not any(_lives(pid) for pid in pids) or None, "both processes to end")


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_workspace_goes(tmp_path: Path) -> None:
    """Whatever lies in it."""
    (tmp_path / "incoming").mkdir()
    with tuner.workspace(tmp_path) as name:
        (Path(name) / "file").write_bytes(b"x")
    assert list((tmp_path / "incoming").iterdir()) == []
