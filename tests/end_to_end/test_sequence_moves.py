"""Sequences over real changeovers: a trained forecaster in several forms, and Silero VAD."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.cli.exits import Exit
from changeover.cli.main import run
from changeover.testing import Server
from tests import sequence_models as models

PLAN = "rollout: {strategy: instant, undo_window: 1h}\n"
FORECAST = PLAN + "sequence:\n  state: [{input: h, output: h_next}, {input: c, output: c_next}]\n"
SUM = PLAN + "sequence:\n  state: [{input: h, output: h_next}]\n"
SILERO = PLAN + "sequence:\n  state: [{input: state, output: stateN}]\n"
Send = Callable[..., float]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("sequences"), gateways=2) as made:
        yield made


def step(server: Server, model: str, name: int | str, values: list[float], **flags: bool) -> Any:
    """One step over HTTP; the answer."""
    shape = [1, len(values)]
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": values}
    parameters = {"sequence_id": name} | {f"sequence_{flag}": value for flag, value in flags.items()}
    return server.infer(model, {"inputs": [tensor], "parameters": parameters})


def value(server: Server, model: str, name: int | str, values: list[float], **flags: bool) -> tuple[str, float]:
    """Who answered, and the first number of the answer."""
    reply = step(server, model, name, values, **flags)
    assert reply.status == 200, reply.body
    return reply.json()["model_version"], reply.json()["outputs"][0]["data"][0]


def unswitched(kind: str, signal: list[float]) -> list[float]:
    """What one version answers to a whole signal."""
    import onnxruntime

    session = onnxruntime.InferenceSession(models.forecast(kind))
    h = c = np.zeros((1, 1, 32), np.float32)
    answers = []
    for x in signal:
        y, h, c = session.run(["y", "h_next", "c_next"], {"x": np.array([[x]], np.float32), "h": h, "c": c})
        answers.append(float(y[0, 0]))
    return answers


def test_a_sequence_goes_on_in_another_graph_and_comes_back(server: Server) -> None:
    """Over a changeover and an undo its answers are those of a run that nobody switched."""
    server.plan("forecast", FORECAST)
    server.deploy("forecast", models.forecast("lstm"))
    signal = [float(x) for x in np.sin(np.arange(30) / 3)]
    answers, versions = [], []
    for at, x in enumerate(signal):
        if at == 10:
            assert server.deploy("forecast", models.forecast("gates"))["phase"] == "watching"
        if at == 20:
            server.control("POST", "/v1/models/forecast/rollout/undo")
        version, y = value(server, "forecast", 7, [x], start=at == 0, end=at == len(signal) - 1)
        answers.append(y)
        versions.append(version)
    assert versions == ["1"] * 10 + ["2"] * 10 + ["1"] * 10
    assert np.allclose(answers, unswitched("lstm", signal), atol=1e-6)
    assert step(server, "forecast", 7, [0.0]).json()["error"]


def test_half_precision_is_stopped_by_the_gate(server: Server) -> None:
    """Before any sequence is touched; the record has the divergence."""
    server.plan("lossy", FORECAST)
    server.deploy("lossy", models.forecast("lstm"))
    value(server, "lossy", "a", [0.5], start=True)
    ended = server.deploy("lossy", models.forecast("half"))
    assert (ended["phase"], ended["reason"]) == ("failed", "state_diverges")
    (gate,) = [gate for gate in ended["gates"] if gate["gate"] == "state"]
    assert gate["evidence"]["divergence"] > 1e-4
    assert value(server, "lossy", "a", [0.5])[0] == "1"


def test_a_wider_state_is_refused_and_its_proposal_works(server: Server) -> None:
    """There and back: the cells that were added are taken away again."""
    server.plan("wide", FORECAST)
    server.deploy("wide", models.forecast("lstm"))
    signal = [float(x) for x in np.cos(np.arange(12) / 2)]
    answers = [value(server, "wide", 1, [x], start=at == 0)[1] for at, x in enumerate(signal[:4])]
    refused = server.deploy("wide", models.forecast("wide"))
    assert (refused["phase"], refused["reason"]) == ("failed", "state_layout")
    (gate,) = [gate for gate in refused["gates"] if gate["gate"] == "state"]
    proposed = gate["evidence"]["proposal"]["sequence"]
    text = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in proposed.items())
    server.plan("wide", FORECAST + text)
    assert server.deploy("wide", models.forecast("wide"))["phase"] == "watching"
    for at in range(4, 8):
        version, y = value(server, "wide", 1, [signal[at]])
        answers.append(y)
        assert version == "3"
    server.control("POST", "/v1/models/wide/rollout/undo")
    for at in range(8, 12):
        version, y = value(server, "wide", 1, [signal[at]])
        answers.append(y)
        assert version == "1"
    assert np.allclose(answers, unswitched("lstm", signal), atol=1e-6)


def test_a_replay_of_the_last_inputs(server: Server) -> None:
    """Both versions keep them; the new one makes its own state of them."""
    kept = "  on_changeover: replay\n  replay: 24\n"
    server.plan("replayed", SUM + kept)
    server.deploy("replayed", models.running_sum().SerializeToString())
    for at in range(3):
        value(server, "replayed", 1, [1.0, 0, 0, 0], start=at == 0)
    server.deploy("replayed", models.running_sum(2).SerializeToString())
    assert value(server, "replayed", 1, [1.0, 0, 0, 0]) == ("2", 8.0)
    server.control("POST", "/v1/models/replayed/rollout/undo")
    assert value(server, "replayed", 1, [1.0, 0, 0, 0]) == ("1", 5.0)


def test_operators_look_end_export_and_import(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line; an import goes on where the export was made."""
    server.plan("looked", SUM)
    server.deploy("looked", models.running_sum().SerializeToString())
    for name in (42, "42"):
        for at in range(3):
            value(server, "looked", name, [2.0, 0, 0, 0], start=at == 0)

    def ask(*words: str, code: int = Exit.DONE) -> str:
        told = run(["sequence", words[0], "looked", *words[1:], "--control", f"http://127.0.0.1:{server.control_port}"])
        assert told == code
        return capsys.readouterr().out

    listed = json.loads(ask("list", "-o", "json"))
    assert [(row["id"], row["steps"], row["version"]) for row in listed["sequences"]] == [(42, 3, "1"), ("42", 3, "1")]
    assert server.model("looked")["sequences"]["live"] == 2
    shown = json.loads(ask("show", "42", "-o", "json"))
    assert shown["states"] == [{"name": "h", "datatype": "FP32", "shape": [1, 4]}]
    file = tmp_path / "42.json"
    file.write_text(ask("export", "42"))
    ask("end", "42")
    assert step(server, "looked", 42, [1.0, 0, 0, 0]).json()["error"]
    ask("end", "42", code=Exit.REFUSED)
    ask("import", str(file))
    assert value(server, "looked", 42, [1.0, 0, 0, 0])[1] == 7.0
    ask("import", str(file), code=Exit.REFUSED)
    assert value(server, "looked", "42", [1.0, 0, 0, 0])[1] == 7.0


def test_silero_goes_on_in_a_re_export_and_not_in_other_weights(server: Server, tmp_path: Path) -> None:
    """The golden set has recorded steps, since made-up sampling rates mean nothing to it."""
    steps = [models.silero_steps(24, seed) for seed in (1, 2)]
    golden = server.repository / "vad" / "golden"
    golden.mkdir(parents=True)
    names = ("input", "sr")
    arrays = {name: np.stack([np.stack([s[name] for s in sequence]) for sequence in steps]) for name in names}
    np.savez(golden / "steps.npz", **arrays)  # type: ignore[arg-type]
    server.plan("vad", SILERO)
    assert server.deploy("vad", models.silero("6.2"))["phase"] in ("succeeded", "watching")

    def hear(at: int, **flags: bool) -> str:
        inputs = [
            {"name": "input", "datatype": "FP32", "shape": [1, 576], "data": steps[0][at]["input"].ravel().tolist()},
            {"name": "sr", "datatype": "INT64", "shape": [], "data": [16000]},
        ]
        parameters = {"sequence_id": "mic"} | {f"sequence_{flag}": value for flag, value in flags.items()}
        reply = server.infer("vad", {"inputs": inputs, "parameters": parameters})
        assert reply.status == 200, reply.body
        answers.append(reply.json()["outputs"][0]["data"][0])
        return str(reply.json()["model_version"])

    answers: list[float] = []
    assert [hear(at, start=at == 0) for at in range(8)] == ["1"] * 8
    refused = server.deploy("vad", models.silero("5.1"))
    assert (refused["phase"], refused["reason"]) == ("failed", "state_diverges")
    server.deploy("vad", models.silero("6.2 16k"))
    assert [hear(at) for at in range(8, 24)] == ["3"] * 16
    assert np.allclose(answers, _unswitched_silero(steps[0]), atol=1e-6)


def _unswitched_silero(steps: list[dict[str, Any]]) -> list[float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(models.silero("6.2"))
    state, answers = np.zeros((2, 1, 128), np.float32), []
    for inputs in steps:
        y, state = session.run(["output", "stateN"], {**inputs, "state": state})
        answers.append(float(y[0, 0]))
    return answers
