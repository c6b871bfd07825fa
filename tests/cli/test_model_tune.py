"""`changeover model tune`: table, JSON, files, and what is proposed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from changeover.cli import model_tune
from changeover.cli.exits import Usage
from changeover.cli.main import run
from changeover.lifecycle.adaptation import adapted
from changeover.lifecycle.seal import seal_folder
from changeover.rollout.plan import parse_plan
from changeover.workbench.tuning.tune import Tuned
from changeover.workbench.tuning.version import Planned, opened, planned
from tests import custom_operators
from tests.cli.fake import usual
from tests.interface.adapting import run as run_model
from tests.interface.adapting import steps
from tests.lifecycle.onnx_files import linear, write
from tests.workbench.tuning.models import folding

QUICK = ["--budget", "2s", "--precisions", "fp32", "--levels", "off,all", "--threads", "1"]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version that runs without optimisation, as its plan says."""
    folder = tmp_path / "models" / "folding" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(folding().SerializeToString())
    (folder.parent / "model.yaml").write_text("rollout: {hold: 5s}\nruntime: {optimization: off}\n")
    return folder


def test_the_answer_is_written_and_proposed(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The version in a folder has the tuned plan, and the same goes to the server as a push; stdout is one document."""
    out, drawn = tmp_path / "out", tmp_path / "p.html"
    (version / "README.md").write_text("stays behind when it is pushed")
    with usual() as fake:
        command = ["model", "tune", str(version), *QUICK, "--write", str(out), "--picture", str(drawn), "-o", "json"]
        assert run([*command, "--propose", "digits", "--control", fake.url]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["kept"] is False
    assert document["answer"]["optimization"] == "all"
    assert document["proposed"]["version"]
    plan = parse_plan((out / "model.yaml").read_text())
    assert (plan.runtime.optimization, plan.rollout.hold) == ("all", 5.0)
    assert (out / "README.md").exists()
    assert drawn.read_text().startswith("<!doctype html>")
    assert "final, sitting" in told.err
    (seen,) = fake.seen
    assert (seen.method, seen.path) == ("POST", "/v1/models/digits/versions")
    with tarfile.open(fileobj=io.BytesIO(seen.body)) as tar:
        assert sorted(tar.getnames()) == ["model.onnx", "model.yaml"]


def test_a_default_that_is_kept_is_not_proposed(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says that it is kept, under the shorter name too, and nothing is sent."""
    (version.parent / "model.yaml").unlink()
    with usual() as fake:
        assert run(["tune", str(version), *QUICK, "--propose", "digits", "--control", fake.url]) == 0
    assert fake.seen == []
    told = capsys.readouterr().out
    assert "the default is kept" in told
    assert "nothing was proposed" in told
    assert "optimization: all" in told


@pytest.mark.parametrize(
    ("option", "value"),
    [("--budget", "soon"), ("--budget", "0s"), ("--precisions", "int3"), ("--threads", "two"), ("--batches", "0"),
     ("--instances", "99"), ("--objective", "beauty"), ("--write", "."), ("--write", "/dev/null"),
     ("--picture", "nowhere/at/all.svg"), ("--custom-ops", "nowhere")],
)  # fmt: skip
def test_mistakes_on_the_command_line(
    version: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """What cannot be meant ends with 64 and names the option, before anything is measured."""
    assert run(["model", "tune", str(version), option, value]) == 64
    assert option in capsys.readouterr().err


def test_what_was_found_is_told_though_it_cannot_be_proposed(version: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document is on stdout, the reason on stderr: it took its time, and need not be found again."""
    command = ["tune", str(version), *QUICK, "--propose", "digits", "--control", "http://127.0.0.1:9", "-o", "json"]
    assert run(command) not in (0, 64)
    told = capsys.readouterr()
    assert json.loads(told.out)["kept"] is False
    assert told.err.splitlines()[-1].endswith("]")


def test_clients_that_speak_another_way(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With an `interface` the golden set is the clients', and the tuned version has the steps as before."""
    (version / "model.yaml").write_text(
        "runtime: {optimization: off}\ninterface: [{rename: {x: rows}}, {cast: {rows: FP64}, allow_lossy: true}]\n"
    )
    rows = np.random.default_rng(1).standard_normal((20, 192))
    answers = run_model(folding(), x=rows.astype(np.float32))["y"]
    (version.parent / "golden").mkdir()
    np.savez(version.parent / "golden" / "a.npz", rows=rows, y=answers)
    assert run(["tune", str(version), *QUICK, "--write", str(tmp_path / "out"), "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kept"], document["inputs"], document["accuracy"]["passed"]) == (False, "golden", True)
    written = parse_plan((tmp_path / "out" / "model.yaml").read_text())
    assert len(written.interface) == 2
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (version / "model.onnx").read_bytes()


def test_what_a_server_has_adapted_is_written_with_its_steps(tmp_path: Path) -> None:
    """Its plan may lie elsewhere: the steps that were measured are those of the version, whose file is the model's."""
    names = steps({"rename": {"x": "rows"}})
    (tmp_path / "store").mkdir()
    sealed = adapted(seal_folder(write(tmp_path / "1", linear()), tmp_path / "store"), names, tmp_path / "store")
    version = opened(str(sealed.folder), None, tmp_path)
    for name, model, wanted in (("own", version.model, names), ("other", tmp_path / "1" / "model.onnx", ())):
        tuning = (Planned(), version, cast(Tuned, SimpleNamespace(model=model, kept=False)))
        model_tune._leave(model_tune.Left(write=tmp_path / name), {"runtime": {}}, tuning, tmp_path, "")
        assert planned(tmp_path / name / "model.onnx", None).steps == wanted


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    """It costs neither the version nor the proposal; and a version that cannot be written does not cost the picture."""
    (tmp_path / "model.onnx").write_bytes(folding().SerializeToString())
    version = opened(str(tmp_path / "model.onnx"), None, tmp_path)
    tuning = (Planned(), version, cast(Tuned, SimpleNamespace(model=version.model, kept=False)))
    document = {"runtime": {}, "objective": "latency", "settings": [], "sentence": ""}
    with usual() as fake:
        left = model_tune.Left(picture=tmp_path, write=tmp_path / "out", propose="digits")
        with pytest.raises(Usage, match=str(tmp_path)):
            model_tune._leave(left, document, tuning, tmp_path, fake.url)
        assert len(fake.seen) == 1
    assert (tmp_path / "out" / "model.yaml").exists()
    left = model_tune.Left(picture=tmp_path / "p.svg", write=tmp_path / "model.onnx" / "out")
    with pytest.raises(Usage):
        model_tune._leave(left, document, tuning, tmp_path, "")
    assert (tmp_path / "p.svg").exists()


def test_operators_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A library comes from the folder that is named, as a server has it, or the model is refused with its reason."""
    folder = custom_operators.library(tmp_path / "ops").parent
    model = tmp_path / "model.onnx"
    model.write_bytes(custom_operators.inverting().SerializeToString())
    (tmp_path / "model.yaml").write_text("runtime: {session: {custom_ops: [libown.so]}}")
    command = ["tune", str(model), "--budget", "1s", "--precisions", "fp32,fp16", "--levels", "all", "--threads", "1"]
    assert run([*command, "--custom-ops", str(folder), "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["default"]["p50_us"] > 0
    assert [(one["precision"], one["reason"]) for one in document["dropped"]] == [("fp16", "load_failed")]
    assert run(command) == 1
    assert "[custom_op_not_allowed]" in capsys.readouterr().err


def test_a_model_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is told."""
    assert run(["model", "tune", str(tmp_path / "none.onnx")]) not in (0, 64)
    assert "[source_unreadable]" in capsys.readouterr().err
