"""`changeover push`: what is sent, and what the exit code says about the rollout."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from changeover.cli.client import ControlClient
from changeover.cli.main import run
from changeover.cli.rollouts import wait_for
from tests.cli.fake import DIGEST, ROLLOUT, Answer, usual

PUSHED = {"model": "digits", "version": "2", "digest": DIGEST, "rollout": "r-000002"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version's folder with external data and a golden set."""
    (tmp_path / "v2" / "golden").mkdir(parents=True)
    (tmp_path / "v2" / "model.onnx").write_bytes(b"the graph")
    (tmp_path / "v2" / "weights.data").write_bytes(b"the weights")
    (tmp_path / "v2" / "golden" / "a.npz").write_bytes(b"the set")
    (tmp_path / "plan.yaml").write_text("rollout: {undo_window: 0}\n")
    return tmp_path


def members(body: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}


def test_an_onnx_file_is_the_body(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file goes as it is, with its version in the query."""
    with usual() as fake:
        command = ["push", "digits", str(folder / "v2" / "model.onnx"), "--version", "2", "--control", fake.url]
        assert run([*command, "-o", "json"]) == 0
    (seen,) = fake.seen
    assert (seen.method, seen.path) == ("POST", "/v1/models/digits/versions?version=2")
    assert (seen.content_type, seen.body) == ("application/octet-stream", b"the graph")
    assert json.loads(capsys.readouterr().out) == PUSHED


def test_a_plan_makes_it_a_tar(folder: Path) -> None:
    """With --plan model and plan go together."""
    with usual() as fake:
        command = ["push", "digits", str(folder / "v2" / "model.onnx"), "--plan", str(folder / "plan.yaml")]
        assert run([*command, "--control", fake.url]) == 0
    (seen,) = fake.seen
    assert seen.content_type == "application/x-tar"
    assert members(seen.body) == {"model.onnx": b"the graph", "model.yaml": b"rollout: {undo_window: 0}\n"}


def test_a_folder_goes_whole(folder: Path) -> None:
    """A version's folder is sent with everything in it; links arrive as what they point to."""
    (folder / "v2" / "more.data").symlink_to(folder / "plan.yaml")
    with usual() as fake:
        assert run(["push", "digits", str(folder / "v2"), "--control", fake.url]) == 0
    (seen,) = fake.seen
    assert members(seen.body) == {
        "model.onnx": b"the graph",
        "weights.data": b"the weights",
        "golden/a.npz": b"the set",
        "more.data": b"rollout: {undo_window: 0}\n",
    }


def test_a_tar_goes_as_it_is(folder: Path) -> None:
    """A ready-made tar stream is not packed again, and takes no plan beside it."""
    with tarfile.open(folder / "v2.tar", "w") as tar:
        tar.add(folder / "v2" / "model.onnx", "model.onnx")
    with usual() as fake:
        assert run(["push", "digits", str(folder / "v2.tar"), "--control", fake.url]) == 0
        plan = ["--plan", str(folder / "plan.yaml")]
        assert run(["push", "digits", str(folder / "v2.tar"), *plan, "--control", fake.url]) == 64
    (seen,) = fake.seen
    assert (seen.content_type, seen.body) == ("application/x-tar", (folder / "v2.tar").read_bytes())


def test_a_folder_without_a_model_is_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without model.onnx is refused before anything is sent."""
    with usual() as fake:
        assert run(["push", "digits", str(folder), "--control", fake.url]) == 64
    assert fake.seen == []
    assert "model.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("phases", "code"),
    [
        (["pending", "validating", "promoting", "succeeded"], 0),
        (["validating", "watching"], 0),
        (["validating", "rolling_back", "rolled_back"], 1),
        (["validating", "failed"], 1),
        (["validating"], 3),
    ],
)
def test_wait(phases: list[str], code: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--wait follows the rollout and its exit code is the outcome; stdout is the rollout, stderr its way."""
    left = list(phases)

    def rollout() -> Answer:
        phase = left.pop(0) if len(left) > 1 else left[0]
        return 200, ROLLOUT | {"phase": phase, "reason": "output_not_finite" if phase == "failed" else None}

    with usual() as fake:
        fake.answers["GET /v1/rollouts/r-000002"] = rollout
        command = ["push", "digits", str(folder / "v2"), "--wait", "--timeout", "1.5", "-o", "json"]
        assert run([*command, "--control", fake.url]) == code
    captured = capsys.readouterr()
    assert [phase for phase in phases if phase not in captured.err] == []
    if code != 3:
        assert json.loads(captured.out)["phase"] == phases[-1]


def test_wait_outlives_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control port that is away for a moment does not end the wait."""
    with usual() as fake:
        fake.answers["GET /v1/rollouts/r-000002"] = (200, ROLLOUT | {"phase": "validating"})
        client = ControlClient(fake.url)
        urls = iter([fake.url, "http://127.0.0.1:1", "http://127.0.0.1:1", fake.url])

        def move(seen: dict[str, Any]) -> None:
            fake.answers["GET /v1/rollouts/r-000002"] = (200, ROLLOUT)

        monkeypatch.setattr(client, "rollout", lambda name: ControlClient(next(urls)).rollout(name))
        assert wait_for(client, "r-000002", 20.0, move)["phase"] == "succeeded"
    assert next(urls, None) is None


def test_without_a_rollout_there_is_nothing_to_wait_for(folder: Path) -> None:
    """When the plan starts no rollout by itself, --wait returns at once."""
    with usual() as fake:
        fake.answers["POST /v1/models/digits/versions"] = (202, PUSHED | {"rollout": None})
        assert run(["push", "digits", str(folder / "v2"), "--wait", "--control", fake.url]) == 0


def test_a_refusal_during_the_sending_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that refuses the version says why; exit 1."""
    with usual() as fake:
        fake.answers["POST /v1/models/digits/versions"] = (422, {"error": "no ONNX file", "reason": "onnx_unreadable"})
        assert run(["push", "digits", str(folder / "v2"), "--control", fake.url]) == 1
    assert "[onnx_unreadable]" in capsys.readouterr().err
