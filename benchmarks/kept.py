"""What a bench has found so far, in a file, so that a long one can be taken in several pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

Row = dict[str, Any]

FIRST: Final = "taken_under"
"""The key of a file's first line: what all its rows have in common."""


class Kept:
    """Rows of JSON, one a line, behind a line that says under which conditions all of them were taken.

    Args:
        file: read when it is there and added to from then on; None keeps nothing beyond this run.
        conditions: of this run.

    Raises:
        SystemExit: the file's rows were taken under other conditions, so that one figure of both would say nothing.
    """

    def __init__(self, file: Path | None, conditions: Mapping[str, Any]) -> None:
        self._file = file
        self.rows: list[Row] = []
        if file is None:
            return
        if not file.exists():
            file.write_text(json.dumps({FIRST: conditions}) + "\n")
            return
        whole, _, _ = file.read_text().rpartition("\n")  # a line that a kill cut off counts for nothing
        first, *self.rows = [json.loads(line) for line in whole.splitlines()]
        if first != {FIRST: json.loads(json.dumps(conditions))}:
            raise SystemExit(f"{file} was taken under other conditions: {json.dumps(first)}; name another file")
        file.write_text(whole + "\n")

    def add(self, row: Row) -> None:
        """Keep one more."""
        self.rows.append(row)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(row) + "\n")
