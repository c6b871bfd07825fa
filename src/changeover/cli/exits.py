"""Exit codes, for scripts."""

from __future__ import annotations

from enum import IntEnum

from changeover.errors import CallerError, ChangeoverError, DeadlineExceeded, ModelError


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    REFUSED = 1  # rolled back, or refused by a gate or by the server
    FAILED = 2
    TIMEOUT = 3
    USAGE = 64


class Usage(Exception):
    """The command line is wrong in a way that only the command itself can see."""


def code_of(error: ChangeoverError) -> Exit:
    """Return the exit code of an error: whose fault it is decides."""
    if isinstance(error, CallerError | ModelError):
        return Exit.REFUSED
    if isinstance(error, DeadlineExceeded):
        return Exit.TIMEOUT
    return Exit.FAILED
