"""The watch over models: from counted runs to a proposal on record."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from changeover.controller.adaptive import watch as module
from changeover.rollout.driver import Driver
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.settings import Settings
from tests.controller.adaptive.house import HARDWARE, House
from tests.rollout.stage import ScriptedJournal


def test_more_traffic_is_proposed_once(house: Callable[..., House]) -> None:
    """With the numbers and the command, as an event and for the API; a next controller says nothing again."""
    first = house()

    async def script() -> None:
        await first.seconds(12)
        assert first.states() == []
        await first.seconds(30, rate=80)

    first.run(script)
    assert first.states() == ["proposed"]
    told = first.proposal
    assert (told["cause"], told["detail"]) == ("traffic", "requests a second: 80.0, were 20.0")
    assert told["command"] == (
        "changeover model samples m --to requests.npz && changeover model tune /sealed --objective latency "
        "--budget 120 --requests requests.npz --propose m"
    )
    second = house()
    second.now = first.now
    second.run(lambda: second.seconds(60, rate=80))
    assert second.states() == ["proposed"]
    assert second.proposal == told


def test_a_plan_without_the_section(house: Callable[..., House]) -> None:
    """Nothing is looked at, said or kept; the control is above."""
    made = house("")

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(30, rate=80)

    made.run(script)
    assert made.states() == []
    assert made.watch.shown(cast(Driver, made.driver)) is None
    assert made.journal.proposals.known("m") is None


def test_a_candidate_that_takes_a_part_is_no_change(house: Callable[..., House]) -> None:
    """The active version gets less of the traffic while it does."""
    made = house()

    async def script() -> None:
        await made.seconds(12)
        made.driver.candidate = object()
        await made.seconds(60, rate=2)
        made.driver.candidate = None
        await made.seconds(9, rate=2)

    made.run(script)
    assert made.states() == []


def test_other_hardware_and_a_private_model(house: Callable[..., House], tmp_path: Path) -> None:
    """Told with the next slice; the command of a private model asks for no samples, and names what lies beside it."""
    made = house("{private: true, adaptive: {hold: 10s}}")
    models = tmp_path / "all models"
    made.driver.settings = Settings(repository=str(models), custom_ops="/ops", control_port=9002)
    (models / "m" / "golden").mkdir(parents=True)
    (models / "m" / "model.yaml").write_text("private: true")

    async def script() -> None:
        await made.seconds(3)
        made.hardware = replace(HARDWARE, cores=4)
        await made.seconds(1)

    made.run(script)
    assert (made.proposal["cause"], made.proposal["detail"]) == ("hardware", "cores: 4, were 2")
    command = made.proposal["command"]
    assert "samples" not in command
    words = ["--plan", f"{models}/m/model.yaml", "--golden", f"{models}/m/golden", "--custom-ops", "/ops"]
    assert shlex.split(command)[8:] == [*words, "--propose", "m", "--control", "http://127.0.0.1:9002"]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", None),
        ("0.0.0.0", None),  # noqa: S104
        ("::", "http://[::1]:8002"),
        ("::1", "http://[::1]:8002"),
        ("10.0.0.7", "http://10.0.0.7:8002"),
    ],
)
def test_the_command_finds_the_server(house: Callable[..., House], host: str, wanted: str | None) -> None:
    """Wherever it listens; one on the usual address need not be named."""
    made = house()
    made.driver.settings = Settings(host=host)
    words = shlex.split(module._command(cast(Driver, made.driver), made.driver.active, AdaptivePlan()))
    assert words[-2:] == (["--control", wanted] if wanted else ["--propose", "m"])


def test_a_sick_journal(house: Callable[..., House], journal: ScriptedJournal) -> None:
    """What is proposed while it cannot be written is on record as soon as it can; once."""
    made = house()

    async def script() -> None:
        await made.seconds(12)
        journal.fail()
        await made.seconds(20, rate=80)
        assert made.states() == []
        journal.heal()
        await made.seconds(3, rate=80)

    made.run(script)
    assert made.states() == ["proposed"]


def test_a_damaged_record(house: Callable[..., House], journal: ScriptedJournal) -> None:
    """It is found out anew what the model is tuned for."""
    journal.proposals.record("m", b"{")
    made = house()
    made.run(lambda: made.seconds(12))
    assert made.states() == []
    assert journal.proposals.known("m") != b"{"
