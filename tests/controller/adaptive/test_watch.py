"""The watch over models: from counted runs to a proposal on record, and what becomes of one that is pushed."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from changeover.controller.adaptive import watch as module
from changeover.controller.adaptive.conditions import Hardware
from changeover.controller.adaptive.watch import AdaptiveWatch
from changeover.controller.observatory import Observatory
from changeover.errors import Internal
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.plan import parse_plan
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.settings import Settings
from changeover.telemetry.statistics import Ran
from changeover.transport.reports import Observations, Observed
from tests.rollout.stage import ScriptedJournal

HARDWARE = Hardware(2, "ab", "1.31.1", 8 << 30)
LOADING = 7
Answer = tuple[str, str, dict[str, Any]]


class House:
    """One controller's watch over one model, with a clock of its own: a slice is a second.

    Attributes:
        retuned: what each tuning comes to; raised where it is an exception.
    """

    def __init__(self, journal: Journal, plan: str) -> None:
        self.journal, self.plan = journal, parse_plan(plan)
        self.now = 1e9
        self.hardware = HARDWARE
        self.retuned: list[Answer | BaseException] = []
        self.observatory = Observatory()
        self.observatory.totals.role_of = lambda _model, _loading: "active"
        self.watch = AdaptiveWatch(journal, self.observatory, self._retune)
        loading = SimpleNamespace(number=LOADING, plan=self.plan, artifact=SimpleNamespace(folder=Path("/sealed")))
        self.driver = SimpleNamespace(
            model="m", active=loading, candidate=None, current=None, settings=Settings(),
            queue=SimpleNamespace(waits=False),
        )  # fmt: skip
        self._requests = 0

    async def seconds(self, count: int, rate: int = 20, rows: int = 1) -> None:
        """So many seconds with so many requests in each."""
        for _ in range(count):
            self._requests += rate
            self.now += 1.0
            ran = Ran(self._requests, self._requests, self._requests, sizes={rows: self._requests})
            seen = Observed(LOADING, "m", self._requests, 0, 0, {}, ran=ran)
            self.observatory.record(1, Observations(int(self.now * 1e9), [seen]))
            await self.watch.look({"m": cast(Driver, self.driver)})

    async def _retune(self, *_: object) -> Answer:
        found = self.retuned.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def states(self) -> list[str]:
        """Of the events, oldest first."""
        return [str(event.body["state"]) for event in self.journal.events.after() if event.kind == "proposal"]

    @property
    def proposal(self) -> dict[str, Any]:
        shown = self.watch.shown(cast(Driver, self.driver))
        assert shown is not None
        found: dict[str, Any] = shown["proposal"]
        return found

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        async def term() -> None:
            async with asyncio.TaskGroup() as self.watch.tasks:
                await script()

        asyncio.run(term())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[ScriptedJournal]:
    with ScriptedJournal(tmp_path / "journal.sqlite") as made:
        yield made


@pytest.fixture
def house(journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], House]:
    def make(plan: str = "adaptive: {hold: 10s}") -> House:
        made = House(journal, plan)
        for name in ("monotonic", "time"):
            monkeypatch.setattr(module, name, lambda: made.now)
        monkeypatch.setattr(module, "hardware", lambda: made.hardware)
        return made

    return make


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


@pytest.mark.parametrize(
    ("answer", "states", "detail"),
    [
        (("pushed", "2 x as fast", {"version": "4", "rollout": "r-000009"}), ["pushed"], "2 x as fast"),
        (("kept", "nothing was better", {}), ["kept"], "nothing was better"),
        (Internal("the disk is full"), ["failed"], "the disk is full"),
        (ZeroDivisionError("a defect"), ["failed"], "a defect"),
    ],
)
def test_what_is_pushed(
    house: Callable[..., House], answer: Answer | Exception, states: list[str], detail: str
) -> None:
    """Each step is an event, with the version and the rollout that came of it; a defect there ends nothing."""
    made = house("adaptive: {hold: 10s, apply: push}")
    made.retuned = [answer]

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(30, rate=80)

    made.run(script)
    assert made.states() == ["proposed", "tuning", *states]
    assert detail in made.proposal["detail"]
    wanted = ("4", "r-000009") if states == ["pushed"] else (None, None)
    assert (made.proposal["version"], made.proposal["rollout"]) == wanted


def test_a_tuning_that_the_controller_did_not_outlive(house: Callable[..., House]) -> None:
    """The next one says that nothing came of it, and does not begin it again by itself."""
    first = house("adaptive: {hold: 10s, apply: push}")

    async def script() -> None:
        first.retuned = [asyncio.CancelledError()]
        await first.seconds(12)
        await first.seconds(30, rate=80)

    first.run(script)
    assert first.states() == ["proposed", "tuning"]
    second = house("adaptive: {hold: 10s, apply: push}")
    second.now = first.now
    second.run(lambda: second.seconds(40, rate=80))
    assert second.states() == ["proposed", "tuning", "failed"]
    assert "ended meanwhile" in second.proposal["detail"]


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


def test_a_sick_journal_while_what_was_tuned_is_rolled_out(
    house: Callable[..., House], journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was pushed is on record with the next slice, not at the end of its rollout."""
    made = house(PUSH)

    async def pushed(*_: object) -> Answer:
        journal.fail()
        made.driver.current = SimpleNamespace(rollout=SimpleNamespace(phase=Phase.VALIDATING))
        return "pushed", "2 x as fast", {"version": "4", "rollout": "r-000009"}

    monkeypatch.setattr(made.watch, "_retune", pushed)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        await others_done()
        assert made.states() == ["proposed", "tuning"]
        journal.heal()
        await made.seconds(2, rate=80)

    made.run(script)
    assert made.states() == ["proposed", "tuning", "pushed"]
    assert made.proposal["rollout"] == "r-000009"


def test_a_damaged_record(house: Callable[..., House], journal: ScriptedJournal) -> None:
    """It is found out anew what the model is tuned for."""
    journal.proposals.record("m", b"{")
    made = house()
    made.run(lambda: made.seconds(12))
    assert made.states() == []
    assert journal.proposals.known("m") != b"{"


PUSH = "adaptive: {every: 1s, hold: 10s, apply: push}"


async def others_done() -> None:
    """What the watch has begun comes to its end."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def test_one_tuning_after_the_other(house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """While one waits or runs no other is begun, however often the plan would have it; afterwards there may be."""
    made = house(PUSH)
    begun, done = asyncio.Semaphore(0), asyncio.Event()

    async def slowly(*_: object) -> Answer:
        begun.release()
        await done.wait()
        return "kept", "nothing was better", {}

    monkeypatch.setattr(made.watch, "_retune", slowly)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        await begun.acquire()
        for rate in (800, 80, 800):
            await made.seconds(15, rate=rate)
        assert made.states() == ["proposed", "tuning"]
        done.set()
        await others_done()
        assert begun.locked()
        await made.seconds(15, rate=800)
        await others_done()

    made.run(script)
    assert made.states() == ["proposed", "tuning", "kept"] * 2


@pytest.mark.parametrize(("plan", "wanted"), [(PUSH, []), ("adaptive: {hold: 10s}", ["proposed"])])
def test_a_rollout_is_not_pushed_over(house: Callable[..., House], plan: str, wanted: list[str]) -> None:
    """Nothing is proposed to be pushed before the end of the undo window; a proposal in words disturbs nobody."""
    made = house(plan)
    made.retuned = [("kept", "nothing was better", {})]

    async def script() -> None:
        await made.seconds(12)
        made.driver.current = SimpleNamespace(rollout=SimpleNamespace(phase=Phase.WATCHING))
        made.hardware = replace(HARDWARE, cores=4)
        await made.seconds(20)
        assert made.states() == wanted
        made.driver.current.rollout.phase = Phase.SUCCEEDED
        await made.seconds(2)

    made.run(script)
    assert made.states()[:1] == ["proposed"]


@pytest.mark.parametrize("change", ["plan", "runtime", "journal"])
def test_what_nobody_wants_any_more_is_not_tuned(
    house: Callable[..., House], journal: ScriptedJournal, change: str
) -> None:
    """The plan says something else, other options serve, or no restart would know that it was begun."""
    made = house(PUSH)
    made.retuned = [("kept", "it was tuned all the same", {})]
    made.watch._turn = asyncio.Semaphore(0)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        if change == "plan":
            made.driver.active.plan = parse_plan("adaptive: {every: 2s, hold: 10s, apply: push}")
        elif change == "runtime":
            made.driver.active.plan = parse_plan(f"{PUSH}\nruntime: {{max_batch: 2}}")
        else:
            journal.fail()
        made.watch._turn.release()
        await others_done()
        journal.heal()
        await made.watch._write("m", made.watch._models["m"])

    made.run(script)
    assert made.states() == ["proposed", "tuning", "failed"]
    assert len(made.retuned) == 1
