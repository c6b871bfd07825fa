"""Bad candidates of every kind, under load and by a canary: what do the clients have of them?

    python benchmarks/rehearse.py [--runs N] [--kinds KIND[@MOMENT],...] [--rate R] [--minutes M] [--append FILE]

The digits model takes N (default 20) candidates of every kind of `changeover rehearse`, which come in turns. Each
client gives its request two seconds; every answer is compared with the model's own. With --append what FILE has already
is not tried again, so that a long bench can be taken in pieces; the figures are of all that it has then.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from changeover.cli.rehearse import Clients, Subject, perform
from changeover.demo import digits
from changeover.rehearsal.cases import KINDS, Case, read_case, repeated
from changeover.rehearsal.outcome import Outcome, summary
from changeover.rehearsal.plan import script
from kept import Kept
from rig import emit, say, verdict

PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: shadow, mirror: 30%}, 5%, 25%, 50%, 100%]
  hold: 2s
  min_requests: 50
  max_hold: 60s
  on_inconclusive: rollback
  undo_window: 60s
runtime: {memory_limit: 256MiB, run_timeout: 2s}
"""
"""The holds are the only difference from a plan for clients: a bad candidate is to be met by every step in time. No
step is shorter than the judge's three windows, whatever its hold."""
DEADLINE_S = 2.0
BACK_MS = 1000.0
UNSHIELDED = "@watching"
"""After the promotion there is nobody behind the new version; what its clients have of it is told, without a bound."""
LONGEST_S = 360.0
"""A run that sleeps for ever in a gate is given up after the server's `load_timeout`, 300 s."""


class Task(NamedTuple):
    """What is to be rehearsed: a plan, the candidates, the clients' rate, when to stop, what is there already."""

    plan: str
    cases: Sequence[Case]
    rate: float
    minutes: float
    kept: Kept


def main(runs: int, kinds: str, rate: float, minutes: float, append: Path | None) -> None:
    """Run and print."""
    wanted = [read_case(kind) for kind in kinds.split(",")]
    outcomes = rehearsed(Task(PLAN, repeated(wanted, runs), rate, minutes, kept_in(append, PLAN, rate)))
    for row in summary(outcomes):
        unshielded = row["kind"].endswith(UNSHIELDED)
        clean = unshielded or row["errors"] == row["late"] == row["wrong"] == 0
        complete = row["runs"] >= runs
        emit(f"bad_{row['kind']}", met=clean and complete and row["right"] == row["runs"] and back(row),
             **row, reach=f"{runs} taken back, {'' if unshielded else '0 errors, 0 wrong, 0 late, '}"
             f"all back <= {BACK_MS:.0f} ms")  # fmt: skip
    missed = [case for case in wanted if case.name not in {o.kind for o in outcomes}]
    emit("bad_candidates", met=not missed and all(o.right for o in outcomes), candidates=len(outcomes),
         asked_for=runs * len(wanted), taken_back=sum(o.right for o in outcomes),
         requests=sum(o.requests for o in outcomes), errors=sum(o.errors for o in outcomes),
         late=sum(o.late for o in outcomes), rate=rate, reach="all taken back")  # fmt: skip


def back(row: dict[str, Any]) -> bool:
    """Whether all traffic was back in time: the candidate's last answer, and the last gateway's acknowledgement."""
    return all(row[name] is None or row[name] <= BACK_MS for name in ("back_ms", "acknowledged_ms"))


def kept_in(file: Path | None, plan: str, rate: float) -> Kept:
    """The outcomes of earlier pieces, under the same plan and load."""
    return Kept(file, {"plan": plan, "rate": rate, "deadline_s": DEADLINE_S})


def rehearsed(task: Task) -> list[Outcome]:
    """Bring the candidates that are missing to a private server with the digits model, until the time is over.

    Returns the outcomes of all pieces.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server does not stay
    missing = _missing(task)
    if missing:
        with tempfile.TemporaryDirectory(prefix="changeover-rehearse-") as made:
            _rehearse(task, missing, Path(made))
    names = {case.name for case in task.cases}
    rows = [row for row in task.kept.rows if row["kind"] in names]
    return [Outcome(**{name: row[name] for name in Outcome.__dataclass_fields__}) for row in rows]


def _missing(task: Task) -> list[Case]:
    """The cases of which earlier pieces have too few, in turns."""
    had = [str(row["kind"]) for row in task.kept.rows]
    missing = []
    for case in task.cases:
        if case.name in had:
            had.remove(case.name)
        else:
            missing.append(case)
    return missing


def _rehearse(task: Task, cases: list[Case], folder: Path) -> None:
    (folder / "model.onnx").write_bytes(digits.model_bytes("1"))
    np.savez(folder / "traffic.npz", **{digits.INPUT: digits.load_samples().inputs()})
    subject = Subject(digits.MODEL, folder / "model.onnx", script(task.plan, "the plan of the bench", None), None)
    clients, done = Clients(str(folder / "traffic.npz"), task.rate, DEADLINE_S), 0
    began = time.monotonic()
    for done, outcome in enumerate(perform(subject, cases, clients, timeout=LONGEST_S), start=1):
        task.kept.add(outcome.to_dict())
        took = time.monotonic() - began
        say(f"{done} of {len(cases)} candidates in {took:.0f} s; {took / done * (len(cases) - done):.0f} s are left")
        if took > 60 * task.minutes:
            break
    took = time.monotonic() - began
    say(f"{done} of {len(cases)} candidates took {took:.0f} s, {took / max(done, 1):.1f} s each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="rehearse.py")
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rate", type=float, default=300.0, metavar="R", help="requests a second (default 300)")
    parser.add_argument("--minutes", type=float, default=45.0, metavar="M", help="no candidate begins after that")
    parser.add_argument("--append", type=Path, metavar="FILE", help="keeps what was found, for the next piece")
    given = parser.parse_args()
    main(given.runs, given.kinds, given.rate, given.minutes, given.append)
    sys.exit(verdict())
