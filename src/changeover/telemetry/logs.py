"""Log lines: one sentence an event, on stderr, as text or as JSON. Standard library only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""Levels that can be left out one by one."""
FIELDS = ("model", "version", "rollout", "request_id", "traceparent")
"""What a line can be about, beside its sentence: told by `extra`, or by whoever works on it (`about`, `mark`)."""
_NOTHING: Mapping[str, str | None] = MappingProxyType({})
_about: ContextVar[Mapping[str, str | None]] = ContextVar("about", default=_NOTHING)


def configure(*, verbose: bool = False, form: str = "text", process: str = "") -> None:
    """Set up logging of this process.

    Args:
        verbose: details too.
        form: `text`, or `json` for one object a line.
        process: the process's name, for JSON.
    """
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=_FORMAT, force=True)
    if form == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines(process))
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts what it sees, we say what it means


@contextmanager
def about(**fields: str | None) -> Iterator[None]:
    """Lines from inside, and of tasks that are made inside, are about this."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def mark(**fields: str | None) -> None:
    """Lines of this task are about this from here on."""
    _about.set({**_about.get(), **fields})


class JsonLines(logging.Formatter):
    """One JSON object a line; what is not known of `FIELDS` is left out."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "message": record.getMessage(),
        }
        known = _about.get()
        for field in FIELDS:
            value = getattr(record, field, None) or known.get(field)
            if value is not None:
                told[field] = str(value)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


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
