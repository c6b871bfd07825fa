"""How a process ends: what its exit code says. Standard library only."""

from __future__ import annotations

import signal

EXIT_CONFIGURATION = 78
"""A child's exit code that says: starting me again will not help (its reason is on stderr)."""


def how(code: int) -> str:
    """An exit code as people say it: `SIGSEGV`, `signal 40` (those of real time have no name), `exit code 1`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
