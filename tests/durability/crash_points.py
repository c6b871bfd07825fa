"""A real server whose controller is killed at one system call of a version's life, and what must hold then.

A *point* is one call that changes state (a write, sync, rename, truncation, folder or message to the supervisor), and
the moment just before or just after it. *Warm*: the controller alone dies there, and its successor takes over while
traffic goes on. *Cold*: the whole server dies there, and is started again.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from changeover.lifecycle import artifacts
from changeover.records.journal import Journal
from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.traffic import Traffic

MODEL = "m"
RATE = 80.0
FACTORS = {str(version): float(version + 1) for version in range(1, 5000)}
"""What each good version multiplies by; a broken one has none, so an answer of it would be wrong."""
ENDS = ("succeeded", "rolled_back", "failed")
DURABLE = ("fsync", "fdatasync", "rename", "renameat2", "sendmsg")
"""Calls that are points afterwards too; after any other is before the next."""
_ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
_GONE = (OSError, http.client.HTTPException)
_CERTIFICATE = 8.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Call:
    """One state-changing call: its number in the process's life, its name, the path it is for."""

    number: int
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Point:
    """Where to kill, and what: before the n-th call, or after the n-th of the `DURABLE` ones."""

    number: int
    after: bool = False
    cold: bool = False

    def __str__(self) -> str:
        where = f"after durable call {self.number}" if self.after else f"before call {self.number}"
        return f"{where}, {'cold' if self.cold else 'warm'}"


@dataclass(slots=True)
class Outcome:
    """What became of a point; `call` is None when the life had fewer."""

    point: Point
    call: Call | None
    problems: list[str]


class CannotTrace(RuntimeError):
    """This machine lets nobody trace."""


class Trace:
    """A controller under the tracer, from entering the block on."""

    def __init__(self, server: Server, point: Point | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="changeover-trace-"))
        self._output = self._folder / "calls"
        self._pid = server.named("controller").pid
        command = [sys.executable, "-m", "tests.durability.tracer", str(self._pid), str(server.state)]
        command += [str(self._output)]
        if point is not None:
            command += [str(point.number), "after" if point.after else "before"]
            command += [",".join(DURABLE) if point.after else ""]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        wait_for(lambda: self._lines() or self._process.poll() is not None, "the tracer to be attached")
        if not self._lines():
            raise CannotTrace(self._process.communicate()[1].decode().strip().splitlines()[-1])

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def ended(self) -> bool:
        """Whether the traced process has ended."""
        return self._process.poll() is not None

    def calls(self) -> list[Call]:
        """All calls so far, in order."""
        return [Call(*json.loads(line)) for line in self._lines()[1:]]

    def _lines(self) -> list[str]:
        if not self._output.exists():
            return []
        whole, _, _ = self._output.read_text().rpartition("\n")
        return whole.splitlines()


@dataclass(slots=True)
class Promise:
    """One pushed version, and what a client was told about it."""

    version: int
    good: bool
    rollout: str | None = None
    watching: bool = False
    undo_asked: bool = False
    undone: bool = False


@dataclass(slots=True)
class Stage:
    """A server that lives through life after life, under light traffic."""

    server: Server
    promises: list[Promise] = field(default_factory=list)
    made: int = 1

    @classmethod
    def set(cls, server: Server) -> Stage:
        """Version 1 serves."""
        stage = cls(server)
        server.deploy(MODEL, onnx_models.scale(FACTORS["1"]).SerializeToString(), 1)
        return stage

    # -- a version's life ----------------------------------------------------------------------------------

    def life(self, *, certificate: bool = False) -> None:
        """A promotion and its undo, a promotion, and a push that ends its undo window and is refused."""
        self.promises = []
        taken_back = self._push(good=True)
        taken_back.watching = self._decided(taken_back) == "watching"
        taken_back.undo_asked = True
        self.server.control("POST", f"/v1/models/{MODEL}/rollout/undo")
        taken_back.undone = True
        kept = self._push(good=True)
        kept.watching = self._decided(kept) == "watching"
        self._decided(self._push(good=False))
        if certificate:
            wait_for(lambda: self._certified(kept), "the certificate", _CERTIFICATE)

    def _push(self, *, good: bool) -> Promise:
        self.made += 1
        promise = Promise(self.made, good)
        self.promises.append(promise)
        model = onnx_models.scale(FACTORS[str(self.made)]) if good else onnx_models.not_a_number()
        promise.rollout = self.server.push(MODEL, model.SerializeToString(), self.made)["rollout"]
        return promise

    def _decided(self, promise: Promise) -> str:
        def phase() -> str | None:
            found = self.server.control("GET", f"/v1/rollouts/{promise.rollout}")["phase"]
            return found if found in ("watching", *ENDS) else None

        return wait_for(phase, "a decision")

    def _certified(self, promise: Promise) -> bool:
        path = f"/v1/rollouts/{promise.rollout}/certificate"
        reply = exchange(self.server.control_port, "GET", path)
        return reply.status == 200 and reply.json()["outcome"] == "succeeded"

    # -- one point -----------------------------------------------------------------------------------------

    def visit(self, point: Point, traffic: Traffic | None) -> Outcome:
        """Live until the point, end there, come back; whether all promises held."""
        failed = len(traffic.report.failed) if traffic else 0
        with Trace(self.server, point) as trace:
            try:
                self.life(certificate=point.number > (_QUICK // 3 if point.after else _QUICK))
            except (*_GONE, AssertionError):
                if not trace.ended:
                    wait_for(lambda: trace.ended, "the end of the controller")
            calls = trace.calls()
            hit = trace.ended
        if not hit:
            return Outcome(point, None, [])
        counted = [call for call in calls if call.name in DURABLE] if point.after else calls
        problems = []
        if point.cold:
            self.server.kill()
            problems = unsound(self.server.state)
            self.server.start()
            self.server.wait_ready()
        return Outcome(point, counted[point.number - 1], problems + self._kept(traffic, failed))

    def _kept(self, traffic: Traffic | None, failed: int) -> list[str]:
        try:
            wait_for(self._settled, "every rollout to come to its end")
        except TimeoutError as error:
            return [f"{error}; {self._shown()}"]
        rollouts = self.server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"]
        problems = [sentence for promise in self.promises for sentence in broken(promise, rollouts)]
        active = next(r["to"]["version"] for r in rollouts if r["phase"] in ("watching", "succeeded"))
        shown = self.server.model(MODEL)
        if shown["active"] != active:
            problems.append(f"{shown['active']} is active where {active} was decided")
        answer = self.server.infer(MODEL, _ASK).json()
        right = [FACTORS[active] * x for x in (1.0, 2.0, 3.0, 4.0)]
        if (answer.get("model_version"), answer.get("outputs", [{}])[0].get("data")) != (active, right):
            problems.append(f"{active} is active, and the answer is {answer}")
        return problems + (self._felt(traffic, failed, active) if traffic else [])

    def _felt(self, traffic: Traffic, failed: int, active: str) -> list[str]:
        traffic.wait_for_version(active)
        report = traffic.report
        felt = report.failed[failed:]
        if report.refused or report.wrong:
            felt.append(f"{report.refused} connections refused, {report.wrong} wrong answers")
        return felt

    def _settled(self) -> bool:
        """No rollout is under way, and the workers are those of the versions in use."""
        try:
            rollouts = self.server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"]
            shown = self.server.model(MODEL)
        except (*_GONE, AssertionError):
            return False
        open_ones = [r for r in rollouts if r["phase"] not in ENDS]
        if any(r["phase"] != "watching" for r in open_ones) or len(open_ones) > 1:
            return False
        used = {v for v in (shown["active"], shown["standby"]) if v}
        return _workers(self.server) == sorted(f"changeover: worker {MODEL}/{v}" for v in used)

    def _shown(self) -> str:
        try:
            rollouts = self.server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"][:4]
            return f"{[(r['to'], r['phase'], r['reason']) for r in rollouts]}, workers {_workers(self.server)}"
        except (*_GONE, AssertionError) as error:
            return f"{error!r}; {self.server.tail(8)}"


_QUICK = 205
"""Calls up to the refusal; those of the certificates come 5 s later, so only points beyond wait for them."""


def _workers(server: Server) -> list[str]:
    titles = []
    for process in server.processes():
        try:
            titles.append(" ".join(process.cmdline()).strip())
        except Exception:  # noqa: BLE001, S112 - it went while it was looked at
            continue
    return sorted(title for title in titles if title.startswith("changeover: worker "))


def broken(promise: Promise, rollouts: Sequence[dict[str, Any]]) -> list[str]:
    """What a client was told and does not hold, and ends that no rule leads to."""
    found = next((r for r in rollouts if r["to"]["version"] == str(promise.version)), None)
    if found is None:
        return [f"the push of {promise.version} was acknowledged and is lost"] if promise.rollout else []
    phase, name = found["phase"], f"version {promise.version} ({found['reason']})"
    if not promise.good:
        return [] if phase == "failed" else [f"{name} is broken, and its rollout is {phase}"]
    if promise.undone and phase != "rolled_back":
        return [f"{name} was undone, and its rollout is {phase}"]
    allowed = ("watching", "succeeded", "rolled_back") if promise.undo_asked else ("watching", "succeeded")
    return [] if phase in allowed else [f"{name} is sound, and its rollout is {phase}"]


def unsound(state: Path) -> list[str]:
    """What is wrong in the state folder of a dead server: each sealed artifact whole, all that is in use there."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            if (state / name).exists():
                shutil.copy(state / name, folder)
        with Journal(Path(folder) / "journal.sqlite") as journal:
            committed = journal.epochs.committed(MODEL)
            if committed is None:
                return ["no decision is in the journal"]
            decided = json.loads(committed.table)["loadings"]
            highest = max((intent.epoch for intent in journal.epochs.intents(MODEL)), default=0)
            if journal.epochs.allocate(MODEL)[0] <= max(committed.epoch, highest):
                problems.append("an epoch would be used twice")
            begun = {rollout.target.digest for rollout in journal.rollouts.unfinished()}
    sealed = set(artifacts.digests(state / "artifacts"))
    for digest in sealed:
        try:
            artifacts.verify_sealed(state / "artifacts", digest)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            problems.append(f"half an artifact has its digest's name: {error}")
    missing = (begun | {entry["digest"] for entry in decided}) - sealed  # of others the oldest are removed
    return problems + [f"artifact {digest} is in use and not there" for digest in missing]


# -- many points -----------------------------------------------------------------------------------------------


def record(folder: Path, *, certificate: bool = True) -> list[Call]:
    """One life, undisturbed: all its calls in order; with those of the certificates it takes 5 s more."""
    with Server(folder, settle=0.1) as server:
        stage = Stage.set(server)
        with Trace(server) as trace:
            stage.life(certificate=certificate)
            return trace.calls()


def points(calls: Sequence[Call]) -> list[Point]:
    """Every point of a life; every fourth is a cold one."""
    found = [Point(call.number) for call in calls]
    found += [Point(n + 1, after=True) for n in range(sum(call.name in DURABLE for call in calls))]
    return [Point(p.number, p.after, cold=index % 4 == 3) for index, p in enumerate(found)]


def sweep(folder: Path, chosen: Sequence[Point], until: float = float("inf")) -> Iterator[Outcome]:
    """Visit these points on one server, as long as there is time; a cold one starts it anew, and traffic with it."""
    left = list(chosen)
    with Server(folder, settle=0.1) as server:
        stage = Stage.set(server)
        while left and time.monotonic() < until:
            warm = 0
            while warm < len(left) and not left[warm].cold:
                warm += 1
            with _traffic(server, wanted=warm > 0) as traffic:
                for point in (p for p in left[:warm] if time.monotonic() < until):
                    yield stage.visit(point, traffic)
            for point in (p for p in left[warm : warm + 1] if time.monotonic() < until):
                yield stage.visit(point, None)
            left = left[warm + 1 :]
        yield Outcome(Point(0), None, _sound_at_the_end(server))


def _sound_at_the_end(server: Server) -> list[str]:
    server.kill()
    return unsound(server.state)


@contextmanager
def _traffic(server: Server, *, wanted: bool) -> Iterator[Traffic | None]:
    if not wanted:
        yield None
        return
    with Traffic(server.http_port, MODEL, FACTORS, rate=RATE) as traffic:
        yield traffic
