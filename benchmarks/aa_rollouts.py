"""Identical candidates, really rolled out: how often does the judge take a good one back?

    python benchmarks/aa_rollouts.py [--runs N] [--rate R] [--minutes M] [--append FILE]

Every candidate has the bytes of the version that serves, so each one taken back is a false alarm. The plan is a
canary of all steps with short holds; the traffic has random arrivals at R requests a second (default 1,000). With
--append the rollouts that FILE has already count, and those that are missing are added to it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from changeover.rehearsal.cases import HEALTHY, Case, repeated
from changeover.rehearsal.outcome import PROMOTED, TAKEN_BACK
from rehearse import Task, kept_in, rehearsed
from rig import emit, verdict

PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: shadow, mirror: 30%}, {weight: 1%, min_requests: 20}, 5%, 25%, 50%, 100%]
  hold: 4s
  min_requests: 100
  max_hold: 60s
  on_inconclusive: pause
  undo_window: 20s
"""


def main(runs: int, rate: float, minutes: float, append: Path | None) -> None:
    """Run and print."""
    outcomes = rehearsed(Task(PLAN, repeated([Case(HEALTHY)], runs), rate, minutes, kept_in(append, PLAN, rate)))
    false = [o for o in outcomes if o.phase in TAKEN_BACK]
    through = sum(o.phase in PROMOTED for o in outcomes)
    clean = not any(o.errors + o.wrong + o.late for o in outcomes)
    emit("aa_rollouts", met=not false and clean and through >= runs, rollouts=len(outcomes), promoted=through,
         false_rollbacks=len(false), reasons=[f"{o.reason} at {o.step}: {o.detail}" for o in false],
         inconclusive=len(outcomes) - through - len(false), requests=sum(o.requests for o in outcomes),
         errors=sum(o.errors for o in outcomes), wrong=sum(o.wrong for o in outcomes), rate=rate,
         reach=f"0 of {runs} taken back, 0 errors")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="aa_rollouts.py")
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--rate", type=float, default=1000.0, metavar="R")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="no rollout begins after that")
    parser.add_argument("--append", type=Path, metavar="FILE", help="keeps what was found, for the next piece")
    given = parser.parse_args()
    main(given.runs, given.rate, given.minutes, given.append)
    sys.exit(verdict())
