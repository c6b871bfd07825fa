"""The stage of a rehearsal: a private server with the model, clients, and one candidate after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final, Protocol

from changeover.bench import BenchProcess, LoadSpec
from changeover.bench.records import Records
from changeover.errors import ChangeoverError, NotFound, ServerError
from changeover.rehearsal.cases import Case, moment_reached
from changeover.rehearsal.outcome import Moments, Outcome, outcome, verdict_at
from changeover.rehearsal.server import PrivateServer
from changeover.settings import Settings

Document = dict[str, Any]

_POLL_S = 0.1
_PROMOTED = "watching"
_PAUSED = "paused"
_ENDS = ("succeeded", "rolled_back", "failed")
_WATCH_S = 60.0
"""Seconds in which a bad candidate that was promoted may still be taken back, if the undo window is as long."""
_QUEUE_DELAY_S: Final = Settings().max_queue_delay
_CLEARED_WITHIN = 30.0
_CONTROLLER_BACK_WITHIN = 15.0


class Control(Protocol):
    """The control port of the private server."""

    def push(self, name: str, body: IO[bytes], content_type: str, version: str | None = None) -> Document:
        """Store a version and start its rollout."""

    def steer(self, name: str, verb: str) -> Document:
        """Ask something of the model's rollout."""

    def rollout(self, rollout: str) -> Document:
        """Return one rollout."""

    def certificate(self, rollout: str) -> Document:
        """Return the certificate of an ended rollout."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is rehearsed.

    Attributes:
        model: its name.
        cases: the candidates, in the order of their versions, which begin at 2.
        fill: writes version 1 and the plan into the repository that it is given.
        body: makes the body of a push of the same bytes, with its content type.
        memory_limit: bytes of the plan.
        longest: seconds after which a rollout that has no end is given up.
        deadline: seconds that each client gives its request; nobody is turned away who could be answered in them.
    """

    model: str
    cases: Sequence[Case]
    fill: Callable[[Path], None]
    body: Callable[[], AbstractContextManager[tuple[IO[bytes], str]]]
    memory_limit: int
    longest: float
    deadline: float = 2.0


@dataclass(frozen=True, slots=True)
class Acted:
    """One candidate whose rollout has come to its end, or was given up; `records` are its clients'."""

    case: Case
    run: int
    version: str
    moments: Moments
    rollout: Document = field(repr=False)
    records: Records = field(repr=False)


class Stage:
    """A running private server, on which the candidates of a play come one after the other.

    with Stage(play, folder) as stage:
        stage.control = ...            # a client of stage.server.control_url
        stage.load = LoadSpec(...)     # to stage.server.http_port
        outcome = stage.outcome_of(stage.act(0))
    """

    control: Control
    load: LoadSpec

    def __init__(self, play: Play, folder: Path, on_event: Callable[[str], None] = lambda _: None) -> None:
        self._play = play
        self._folder = folder
        self._on_event = on_event
        self._stack = ExitStack()
        self.certificate_s = 10.0
        """Seconds to wait for the certificate of one taken back, which has the count of shielded requests."""
        self.warm_s = 1.5
        """Seconds of traffic before a candidate comes and after its end."""
        patience = {"max_queue_delay": f"{max(play.deadline, _QUEUE_DELAY_S):g}"}
        self.server = PrivateServer(folder, play.model, ["--faults", str(folder / "faults.json")], patience)

    def __enter__(self) -> Stage:
        play = self._play
        faults = {
            str(2 + number): case.faults(str(self._arming(number)), play.memory_limit)
            for number, case in enumerate(play.cases)
            if case.bad
        }
        (self._folder / "faults.json").write_text(json.dumps({"models": {play.model: faults}}))
        play.fill(self.server.repository)
        self._stack.enter_context(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, ChangeoverError):
            self._on_event(f"the server's last words: {self.server.last_words()}")
        self._stack.close()

    def act(self, number: int, run: int = 1) -> Acted:
        """Bring candidate `number` under load, and see what becomes of it.

        Raises:
            ChangeoverError: the server or the load generator broke down.
        """
        case, version, deadline = self._play.cases[number], str(2 + number), self._play.deadline
        spec = replace(
            self.load,
            headers=(*self.load.headers, ("changeover-timeout", f"{deadline:g}")),
            timeout_s=deadline + 5.0,
            duration_s=self._play.longest + 60.0,
        )
        with BenchProcess(spec) as bench:
            time.sleep(self.warm_s)
            rollout, moments = self._bring(case, number, version)
            time.sleep(self.warm_s)
            bench.stop()
            bench.result(deadline + 60.0)
            records = bench.records()
        self._arming(number).unlink(missing_ok=True)
        self._clear(case, rollout)
        return Acted(case, run, version, moments, rollout, records)

    def outcome_of(self, acted: Acted) -> Outcome:
        """What became of a candidate. Waits for its certificate, which comes seconds later: the next can act meanwhile.

        Raises:
            ChangeoverError: the server broke down.
        """
        shown, seen = self._completed(acted.rollout), (acted.records, acted.version, self._play.deadline)
        return outcome(acted.case, acted.run, acted.moments, shown, seen)

    def _bring(self, case: Case, number: int, version: str) -> tuple[Document, Moments]:
        """Push, arm the fault at its moment, wait for the end.

        Where the server does not tell when the way back began, it is taken to be the last look at which it had not:
        the way back is not shown shorter than it was.
        """
        arming, armed = self._arming(number), None
        pushed_at = time.monotonic()
        if case.moment == "load":
            arming.touch()
            armed = pushed_at
        with self._play.body() as (body, content_type):
            pushed = self.control.push(self._play.model, body, content_type, version)
        place, deadline = "", pushed_at + self._play.longest
        promoted: float | None = None
        now = pushed_at
        while True:
            before = now
            rollout = self._look(pushed["rollout"])
            now = time.monotonic()
            if case.bad and armed is None and moment_reached(case.moment, rollout):
                arming.touch()
                armed = time.monotonic()
                self._on_event(f"{case.name}: the fault begins")
            if _place(rollout) != place:
                place = _place(rollout)
                self._on_event(f"{case.name}: {place}")
            if rollout["phase"] == _PROMOTED and promoted is None:
                promoted = now
            if self._over(case, rollout, promoted, now) or now > deadline:
                found = verdict_at(rollout, time.time(), time.monotonic())
                return rollout, Moments(pushed_at, armed, before if found is None else found)
            time.sleep(_POLL_S)

    def _look(self, rollout: str) -> Document:
        """The rollout now; a controller that is being replaced is waited for."""
        until = time.monotonic() + _CONTROLLER_BACK_WITHIN
        while True:
            try:
                return self.control.rollout(rollout)
            except ServerError:
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL_S)

    def _over(self, case: Case, rollout: Document, promoted: float | None, now: float) -> bool:
        """A healthy candidate is through with its promotion; a bad one may be taken back afterwards."""
        if rollout["phase"] in (*_ENDS, _PAUSED):
            return True
        return promoted is not None and (not case.bad or now > promoted + _WATCH_S)

    def _clear(self, case: Case, rollout: Document) -> None:
        """Take back by hand what its plan did not, so that the next candidate meets a good version and no rollout."""
        if rollout["phase"] in _ENDS or (rollout["phase"] == _PROMOTED and not case.bad):
            return
        verb = "undo" if rollout["phase"] == _PROMOTED else "abort"
        self._on_event(f"{case.name}: {rollout['phase']}, so it is taken back by hand")
        try:
            self.control.steer(self._play.model, verb)
        except ChangeoverError as error:
            self._on_event(f"{case.name}: {verb} was refused: {error.message}")
        until = time.monotonic() + _CLEARED_WITHIN
        while self._look(rollout["id"])["phase"] not in _ENDS and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _completed(self, rollout: Document) -> Document:
        """The rollout with the count of shielded requests from its certificate; what a gate refused had no requests."""
        if rollout["phase"] != "rolled_back":
            return rollout
        deadline = time.monotonic() + self.certificate_s
        while time.monotonic() < deadline:
            try:
                counted = self.control.certificate(rollout["id"])["requests"] or {}
            except NotFound:
                time.sleep(_POLL_S)
            except ChangeoverError:
                break
            else:
                return {**rollout, "arms": {"candidate": {"shielded": counted.get("shielded") or 0}}}
        return rollout

    def _arming(self, number: int) -> Path:
        return self._folder / f"armed-{2 + number}"


def _place(rollout: Document) -> str:
    """`progressing at 5%`."""
    step = rollout.get("step") or {}
    return f"{rollout['phase']} at {step['name']}" if step.get("name") else str(rollout["phase"])
