"""Identical candidates, really rolled out: how often does the judge take a good one back?

    python benchmarks/aa_rollouts.py [ROLLOUTS] [--rate R] [--minutes M]

Every candidate has the bytes of the version that serves, so each one taken back is a false alarm. The plan is a
canary of all steps with short holds; the traffic has random arrivals at R requests a second (default 1,000).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from changeover.rehearsal.cases import HEALTHY, Case, repeated
from changeover.rehearsal.outcome import PROMOTED, TAKEN_BACK
from rehearse import rehearsed
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


def main(rollouts: int, rate: float, minutes: float) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory(prefix="changeover-aa-") as made:
        outcomes = rehearsed(Path(made), PLAN, repeated([Case(HEALTHY)], rollouts), rate, minutes)
    false = [o for o in outcomes if o.phase in TAKEN_BACK]
    through = sum(o.phase in PROMOTED for o in outcomes)
    clean = not any(o.errors + o.wrong + o.late for o in outcomes)
    emit("aa_rollouts", met=not false and clean and through == rollouts, rollouts=len(outcomes), promoted=through,
         false_rollbacks=len(false), reasons=[f"{o.reason} at {o.step}: {o.detail}" for o in false],
         inconclusive=len(outcomes) - through - len(false), requests=sum(o.requests for o in outcomes),
         errors=sum(o.errors for o in outcomes), wrong=sum(o.wrong for o in outcomes), rate=rate,
         reach=f"0 of {rollouts} taken back, 0 errors")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="aa_rollouts.py")
    parser.add_argument("rollouts", type=int, nargs="?", default=20)
    parser.add_argument("--rate", type=float, default=1000.0, metavar="R")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="the last rollout begins by then")
    given = parser.parse_args()
    main(given.rollouts, given.rate, given.minutes)
    sys.exit(verdict())
