"""A real server whose controller is killed, or fails to write, at one system call of a version's life; what holds then?

A *point* is one call that changes state (a write, sync, rename, truncation, folder or message to the supervisor) of one
of the `LIVES`, and what happens there: SIGKILL just before or just after it, or an error of the disk. *Warm*: the
controller alone dies, and its successor takes over while traffic goes on. *Cold*: the whole server dies, and is started
again. *Spell*: the disk goes on failing for two seconds.
"""

from __future__ import annotations

import contextlib
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
from pathlib import Path

from changeover.lifecycle import artifacts
from changeover.records.journal import Journal
from changeover.testing import Server, wait_for
from tests.durability.lives import ENDS, FACTORS, LIVES, MODEL, PAUSE, Cast, broken, workers
from tests.durability.points import FAILING, Call, Outcome, Point, Recorded
from tests.traffic import Traffic

RATE = 80.0
Felt = tuple[int, int, int]
"""What clients had: failed requests, wrong answers, refused connections."""
_ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
_GONE = (OSError, http.client.HTTPException)
_ROOT = Path(__file__).parents[2]


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
            what = f"{point.what}:spell" if point.spell else point.what
            command += [str(point.number), what, ",".join(point.names)]
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

    def dies(self) -> bool:
        """Wait for the end of the traced process; false when it lives on."""
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: self.ended, "the end of the controller")
        return self.ended

    def calls(self) -> list[Call]:
        """All calls so far, in order."""
        return [Call(*json.loads(line)) for line in self._lines()[1:]]

    def _lines(self) -> list[str]:
        if not self._output.exists():
            return []
        whole, _, _ = self._output.read_text().rpartition("\n")
        return whole.splitlines()


# -- one point -------------------------------------------------------------------------------------------------


def visit(cast: Cast, point: Point, traffic: Traffic | None) -> Outcome:
    """Live until the point, end there, come back; whether all promises held."""
    server, problems = cast.server, list[str]()
    before = (len(traffic.report.failed), traffic.report.wrong, traffic.report.refused) if traffic else (0, 0, 0)
    with Trace(server, point) as trace:
        try:
            with _traffic(server, wanted=traffic is None and LIVES[point.life].asks):
                _live(cast, point)
        except TimeoutError as error:
            if not trace.ended:
                problems.append(f"the life did not go on: {error}; {_shown(server)}")
        except (*_GONE, AssertionError) as error:
            if point.what not in FAILING and not trace.dies():
                problems.append(f"the life broke off: {error!r}")
        call = point.among(trace.calls())
        died = trace.ended
    if call is None or (not died and point.what not in FAILING):
        return Outcome(point, None, problems)
    if died and point.what in FAILING:
        problems.append(f"the controller ended of a failing disk: {server.tail(12)}")
    if point.cold:
        server.kill()
        problems += unsound(server.state)
        server.start()
        server.wait_ready()
    with _traffic(server, wanted=traffic is None and LIVES[point.life].asks) as anew:
        return Outcome(point, call, problems + _kept(cast, point, traffic or anew, before))


def _live(cast: Cast, point: Point) -> None:
    life = LIVES[point.life]
    cast.begin(life)
    last = life.live(cast)
    if point.late:
        cast.certified(last)


def _kept(cast: Cast, point: Point, traffic: Traffic | None, before: Felt) -> list[str]:
    server = cast.server
    try:
        wait_for(lambda: _settled(cast), "every rollout to come to its end", 60, PAUSE)
    except TimeoutError as error:
        return [f"{error}; {_shown(server)}"]
    rollouts = server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"]
    sick = point.what in FAILING
    problems = [sentence for promise in cast.promises for sentence in broken(promise, rollouts, sick=sick)]
    active = next(r["to"]["version"] for r in rollouts if r["phase"] in ("watching", "succeeded"))
    shown = server.model(MODEL)
    if shown["active"] != active:
        problems.append(f"{shown['active']} is active where {active} was decided")
    answer = server.infer(MODEL, _ASK).json()
    right = [FACTORS[active] * x for x in (1.0, 2.0, 3.0, 4.0)]
    if (answer.get("model_version"), answer.get("outputs", [{}])[0].get("data")) != (active, right):
        problems.append(f"{active} is active, and the answer is {answer}")
    if point.late:
        problems += _uncertified(cast)
    problems += _felt(traffic, before, active) if traffic else []
    return [*problems, server.tail(12)] if problems else []


def _uncertified(cast: Cast) -> list[str]:
    """Of rollouts that have ended there is a certificate, although the controller died before it was written."""
    ended = [promise for promise in cast.promises if promise.rollout and cast.reaches(promise, "watching") in ENDS]
    try:
        for promise in ended:
            cast.certified(promise)
    except TimeoutError as error:
        return [str(error)]
    return []


def _felt(traffic: Traffic, before: Felt, active: str) -> list[str]:
    traffic.wait_for_version(active)
    report = traffic.report
    felt = report.failed[before[0] :]
    wrong, refused = report.wrong - before[1], report.refused - before[2]
    if refused or wrong:
        felt.append(f"{refused} connections refused, {wrong} wrong answers")
    return felt


def _settled(cast: Cast) -> bool:
    """No rollout is under way, and the workers are those of the versions in use."""
    server = cast.server
    try:
        rollouts = server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"]
        shown = server.model(MODEL)
    except (*_GONE, AssertionError):
        return False
    open_ones = [r for r in rollouts if r["phase"] not in ENDS]
    if any(r["phase"] != "watching" for r in open_ones) or len(open_ones) > 1:
        return False
    if cast.ends and any(r["to"]["version"] in cast.versions for r in open_ones):
        return False
    used = {v for v in (shown["active"], shown["standby"]) if v}
    return workers(server) == sorted(f"changeover: worker {MODEL}/{v}" for v in used)


def _shown(server: Server) -> str:
    try:
        rollouts = server.control("GET", f"/v1/models/{MODEL}/rollouts")["rollouts"][:4]
        return f"{[(r['to'], r['phase'], r['reason']) for r in rollouts]}, workers {workers(server)}; {server.tail(12)}"
    except (*_GONE, AssertionError) as error:
        return f"{error!r}; {server.tail(12)}"


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


def record(folder: Path, life: str = "instant", *, certificate: bool = True) -> Recorded:
    """Live once, undisturbed; with the certificate it takes 5 s more."""
    with _on_stage(folder) as cast, _traffic(cast.server, wanted=LIVES[life].asks), Trace(cast.server) as trace:
        cast.begin(LIVES[life])
        last = LIVES[life].live(cast)
        quick = len(trace.calls())
        if certificate:
            cast.certified(last)
        return Recorded(life, trace.calls(), quick)


def sweep(folder: Path, chosen: Sequence[Point], until: float = float("inf")) -> Iterator[Outcome]:
    """Visit these points on one server, as long as there is time; a cold one starts it anew, and traffic with it."""
    left = list(chosen)
    with _on_stage(folder) as cast:
        while left and time.monotonic() < until:
            warm = 0
            while warm < len(left) and not left[warm].cold:
                warm += 1
            with _traffic(cast.server, wanted=warm > 0) as traffic:
                for point in (p for p in left[:warm] if time.monotonic() < until):
                    yield visit(cast, point, traffic)
            for point in (p for p in left[warm : warm + 1] if time.monotonic() < until):
                yield visit(cast, point, None)
            left = left[warm + 1 :]
        yield Outcome(Point(0), None, _sound_at_the_end(cast.server))


@contextmanager
def _on_stage(folder: Path) -> Iterator[Cast]:
    """A server with version 1, whose controllers are in a hurry."""
    with hurried(), Server(folder, settle=0.1) as server:
        cast = Cast(server)
        cast.deploy_first()
        yield cast


@contextmanager
def hurried() -> Iterator[None]:
    """Controllers of servers that are started meanwhile wait less (`hurried/sitecustomize.py`)."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent / "hurried"), before or ""])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


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
