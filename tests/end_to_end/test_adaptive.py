"""A real server that says when it is worth tuning a model anew, and tunes it where its plan wants that."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from changeover.cli.main import run
from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.controller.events.listening import Listener
from tests.traffic import Traffic
from tests.workbench.tuning.models import folding


def proposal(server: Server, model: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (server.model(model)["adaptive"] or {}).get("proposal")
    return found


def kept(server: Server, model: str) -> Any:
    """Whether it is on record what a model is tuned for."""
    return (server.model(model)["adaptive"] or {}).get("hardware")


def told(state: Path, model: str) -> list[str]:
    """States of a model's proposals, as the journal of a server that has ended has them."""
    with closing(sqlite3.connect(state / "journal.sqlite")) as journal:
        rows = journal.execute("SELECT body FROM events WHERE kind = 'proposal' AND model = ? ORDER BY id", (model,))
        return [str(json.loads(body)["state"]) for (body,) in rows]


def on_other_hardware(state: Path, model: str) -> None:
    """As if the model had been tuned on a machine with more cores, a long time ago."""
    with closing(sqlite3.connect(state / "journal.sqlite")) as journal, journal:
        ((body,),) = journal.execute("SELECT body FROM adaptive WHERE model = ?", (model,))
        known = json.loads(body)
        known["hardware"]["cores"] += 6
        journal.execute("UPDATE adaptive SET body = ? WHERE model = ?", (json.dumps(known).encode(), model))


def test_ten_times_the_traffic_is_proposed_once(tmp_path: Path, capsys: Any) -> None:
    """As an event, for the API and in the status, with the command; a killed controller neither forgets nor repeats it.

    A model without the section gets the same traffic, and nothing is said of it.
    """
    with Server(tmp_path) as server:
        server.plan("m", "adaptive: {every: 24h, hold: 2s, factor: 3}")
        server.plan("quiet", "adaptive: false")
        for name in ("m", "quiet"):
            server.deploy(name, onnx_models.scale(2).SerializeToString())
        with Traffic(server.http_port, "quiet", {"1": 2.0}, rate=60):
            with Traffic(server.http_port, "m", {"1": 2.0}, rate=6):
                wait_for(lambda: server.model("m")["adaptive"]["traffic"], "a reference")
            with (
                Listener(server, "?model=m&types=proposal&after=0") as listener,
                Traffic(server.http_port, "m", {"1": 2.0}, rate=60),
            ):
                heard = listener.next()
                server.named("controller").kill()
                found = wait_for(lambda: _answered(server), "the next controller")
        assert (heard["state"], heard["cause"]) == ("proposed", "traffic")
        assert found["detail"] == heard["detail"]
        assert "requests a second: " in heard["detail"]
        assert run(["status", "m", "--control", f"http://127.0.0.1:{server.control_port}"]) == 0
        shown = capsys.readouterr().out
        assert "tuning" in shown
        assert "changeover model tune" in shown
        assert server.model("quiet")["adaptive"] is None
    assert [told(tmp_path / "state", name) for name in ("m", "quiet")] == [["proposed"], []]


def _answered(server: Server) -> dict[str, Any] | None:
    """What the next controller tells of it, once it answers."""
    try:
        return proposal(server, "m")
    except (OSError, AssertionError):
        return None


SLOW = """
runtime: {optimization: 'off'}
interface: [{rename: {x: rows}}]
adaptive: {hold: 2s, apply: push, budget: 2s}
"""


@pytest.mark.timeout(400)  # at idle priority it takes as long as others leave it
def test_another_machine_and_a_tuning_that_is_pushed(tmp_path: Path) -> None:
    """The same state on other hardware is noticed without a request, the tuner runs, what it finds is a candidate.

    It passes the gates as any version does, and serves what clients know, with the options that were found.
    """
    with Server(tmp_path) as server:
        server.plan("m", SLOW)
        server.deploy("m", folding().SerializeToString())
        wait_for(lambda: kept(server, "m"), "what it is tuned for")
    on_other_hardware(tmp_path / "state", "m")
    with Server(tmp_path) as server:
        found = wait_for(lambda: _ended(server), "the end of the tuning", patience=300.0)
        assert (found["cause"], found["state"]) == ("hardware", "pushed"), found
        assert "cores: " in found["detail"]
        rollout = server.settled(found["rollout"])
        assert (rollout["phase"], rollout["to"]["version"]) == ("watching", found["version"]), rollout
        gates = {gate["gate"]: gate["result"] for gate in rollout["gates"]}
        assert gates["structure"] == gates["warmup"] == "passed", gates
        shown = server.model("m")
        assert shown["runtime"]["optimization"] != "off"
        assert [one["name"] for one in shown["inputs"]] == ["rows"]
        assert list((tmp_path / "state" / "incoming").iterdir()) == []
    assert told(tmp_path / "state", "m") == ["proposed", "tuning", "pushed"]


def _ended(server: Server) -> dict[str, Any] | None:
    found = proposal(server, "m")
    return found if found is not None and found["state"] in ("pushed", "kept", "failed") else None
