"""The demo while it runs: one row a second, on stderr."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from changeover.cli.output import say, table

Document = dict[str, Any]

_COLUMNS = ("time", "answers/s", "p50 ms", "p99 ms", "v1", "v2", "v4", "failed", "wrong", "what happens")
_ROWS = 20  # the latest ones, so that the table fits a terminal


class DemoView:
    """A live table in a terminal, plain lines elsewhere. Rows come from the load generator's reader thread."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._events: list[str] = []
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> DemoView:
        if sys.stderr.isatty():
            self._live = Live(
                self._table(), console=Console(stderr=True, highlight=False, markup=False), refresh_per_second=4
            )
            self._live.start()
        else:
            say("  ".join(column.rjust(5) for column in _COLUMNS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, text: str) -> None:
        """Something happened; it is shown in the row of its second."""
        with self._lock:
            self._events.append(text)
        self._update()

    def progress(self, document: Document) -> None:
        """A second of traffic is over."""
        with self._lock:
            row = _row(document, ", ".join(self._events))
            self._events.clear()
            self._rows.append(row)
        if self._live is None:
            say("  ".join(cell.rjust(max(len(column), 5)) for cell, column in zip(row, _COLUMNS, strict=True)))
        self._update()

    def _update(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        made = table(*_COLUMNS)
        for column in made.columns[:-1]:
            column.justify = "right"
        with self._lock:
            for row in self._rows[-_ROWS:]:
                made.add_row(*row)
            if self._events:
                made.add_row(*[""] * (len(_COLUMNS) - 1), ", ".join(self._events))
        return made


def _row(document: Document, event: str) -> tuple[str, ...]:
    """Return the cells of one second."""
    latency = [f"{document[key]:.2f}" if document[key] is not None else "-" for key in ("p50_ms", "p99_ms")]
    versions = [str(document["versions"].get(version, 0)) for version in ("1", "2", "4")]
    wrong = document["wrong"] + document["wrong_version"]
    elapsed = f"{document['elapsed_s']:.0f} s"
    return (
        elapsed,
        str(document["per_second"]),
        *latency,
        *versions,
        str(document["failed"] + document["shed"]),
        str(wrong),
        event,
    )
