"""Log lines: one sentence an event, on stderr, with the process's name. Standard library only."""

from __future__ import annotations

import logging

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(*, verbose: bool = False) -> None:
    """Set up logging of this process."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=_FORMAT, force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts what it sees, we say what it means
