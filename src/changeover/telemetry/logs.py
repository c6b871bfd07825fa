"""Log lines: one sentence an event, on stderr, with the process's name. Standard library only."""

from __future__ import annotations

import logging
from collections.abc import Mapping

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""Levels that can be left out one by one."""


def configure(*, verbose: bool = False) -> None:
    """Set up logging of this process."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=_FORMAT, force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts what it sees, we say what it means


def let_through(wanted: Mapping[str, bool], *, verbose: bool) -> None:
    """Log the levels that are wanted, and finer ones when `verbose`; what is worse than an error is always logged."""
    left_out = {LEVELS[name] for name, want in wanted.items() if not want}
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for handler in root.handlers:
        for old in [f for f in handler.filters if isinstance(f, _Levels)]:
            handler.removeFilter(old)
        handler.addFilter(_Levels(left_out))


class _Levels(logging.Filter):
    """Leaves levels out."""

    def __init__(self, left_out: set[int]) -> None:
        super().__init__()
        self._left_out = left_out

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno not in self._left_out
