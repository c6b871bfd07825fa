"""How fast this machine is now: what a bound on a real process is compared with."""

from __future__ import annotations

import subprocess
import sys
import time


def come_up(module: str = "changeover.controller.process") -> float:
    """Seconds that a fresh interpreter takes to import a module here and now, beside whatever else runs."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=60)
    return time.monotonic() - started
