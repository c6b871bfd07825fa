"""Bad candidates of every kind, under load and by a canary: what do the clients have of them?

    python benchmarks/rehearse.py [RUNS] [--kinds KIND[@MOMENT],...] [--rate R] [--minutes M]

The digits model takes RUNS (default 20) candidates of every kind of `changeover rehearse`, which come in turns. Each
client gives its request two seconds; every answer is compared with the model's own.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from changeover.cli.rehearse import Clients, Subject, perform
from changeover.demo import digits
from changeover.rehearsal.cases import KINDS, Case, read_case, repeated
from changeover.rehearsal.outcome import Outcome, summary
from changeover.rehearsal.plan import script
from rig import emit, say, verdict

PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: shadow, mirror: 30%}, 5%, 25%, 50%, 100%]
  hold: 4s
  min_requests: 50
  max_hold: 60s
  on_inconclusive: rollback
  undo_window: 60s
runtime: {memory_limit: 256MiB, run_timeout: 2s}
"""
"""The holds are the only difference from a plan for clients: a bad candidate is to be met by every step in time."""
DEADLINE_S = 2.0
BACK_MS = 1000.0
UNSHIELDED = "@watching"
"""After the promotion there is nobody behind the new version; what its clients have of it is told, without a bound."""
LONGEST_S = 360.0
"""A run that sleeps for ever in a gate is given up after the server's `load_timeout`, 300 s."""


def main(runs: int, kinds: str, rate: float, minutes: float) -> None:
    """Run and print."""
    cases = repeated([read_case(kind) for kind in kinds.split(",")], runs)
    with tempfile.TemporaryDirectory(prefix="changeover-rehearse-") as made:
        outcomes = rehearsed(Path(made), PLAN, cases, rate, minutes)
    for row in summary(outcomes):
        unshielded = row["kind"].endswith(UNSHIELDED)
        clean = unshielded or row["errors"] == row["late"] == row["wrong"] == 0
        complete = row["runs"] >= runs
        emit(f"bad_{row['kind']}", met=clean and complete and row["right"] == row["runs"] and back(row),
             **row, reach=f"{runs} taken back, {'' if unshielded else '0 errors, 0 wrong, 0 late, '}"
             f"all back <= {BACK_MS:.0f} ms")  # fmt: skip
    missed = [case for case in cases[: len(KINDS)] if case.name not in {o.kind for o in outcomes}]
    emit("bad_candidates", met=not missed and all(o.right for o in outcomes), candidates=len(outcomes),
         asked_for=len(cases), taken_back=sum(o.right for o in outcomes), requests=sum(o.requests for o in outcomes),
         errors=sum(o.errors for o in outcomes), late=sum(o.late for o in outcomes), rate=rate,
         reach="all taken back")  # fmt: skip


def back(row: dict[str, Any]) -> bool:
    """Whether all traffic was back in time: the candidate's last answer, and the last gateway's acknowledgement."""
    return all(row[name] is None or row[name] <= BACK_MS for name in ("back_ms", "acknowledged_ms"))


def rehearsed(folder: Path, plan: str, cases: Sequence[Case], rate: float, minutes: float) -> list[Outcome]:
    """Bring the candidates to a private server with the digits model, until the time is over."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server does not stay
    (folder / "model.onnx").write_bytes(digits.model_bytes("1"))
    np.savez(folder / "traffic.npz", **{digits.INPUT: digits.load_samples().inputs()})
    subject = Subject(digits.MODEL, folder / "model.onnx", script(plan, "the plan of the bench", None), None)
    clients, outcomes = Clients(str(folder / "traffic.npz"), rate, DEADLINE_S), []
    until = time.monotonic() + 60 * minutes
    for outcome in perform(subject, list(cases), clients, timeout=LONGEST_S):
        outcomes.append(outcome)
        if time.monotonic() > until:
            say(f"the time is over after {len(outcomes)} of {len(cases)} candidates")
            break
    return outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="rehearse.py")
    parser.add_argument("runs", type=int, nargs="?", default=20)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rate", type=float, default=300.0, metavar="R", help="requests a second (default 300)")
    parser.add_argument("--minutes", type=float, default=45.0, metavar="M", help="the last candidate begins by then")
    given = parser.parse_args()
    main(given.runs, given.kinds, given.rate, given.minutes)
    sys.exit(verdict())
