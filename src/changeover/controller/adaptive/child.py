"""The first moments of a tuning that the server began: it dies with the controller, and runs when nobody else wants to.

Where memory runs out it is the first that the kernel ends, before anybody who serves.

`python -m changeover.controller.adaptive.child PARENT ARGUMENTS…` becomes `changeover model tune ARGUMENTS…`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from changeover.transport.child import bind_to

_COMMAND = ("-m", "changeover.cli", "model", "tune")


def main() -> None:
    """Become the tuner; what is set here stays over that, and its children have it too."""
    parent, *arguments = sys.argv[1:]
    bind_to(int(parent))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    Path("/proc/self/oom_score_adj").write_text("1000")
    os.execv(sys.executable, [sys.executable, *_COMMAND, *arguments])  # noqa: S606 - our own command


if __name__ == "__main__":
    main()
