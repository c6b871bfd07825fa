"""The table of the metrics is that of the documents."""

from __future__ import annotations

import re
from pathlib import Path

from changeover.controller.metrics.names import METRICS, empty

PAGE = Path(__file__).parents[3] / "docs" / "monitoring.md"


def test_every_metric_is_on_the_page() -> None:
    """With its kind and meaning, and no other."""
    rows = re.findall(r"^\| `(changeover_\w+)` \| (\w+) \| [^|]* \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    known = [
        (f"changeover_{name}{'_total' if kind == 'counter' else ''}", kind, about) for name, kind, _, about in METRICS
    ]
    assert rows == known


def test_every_metric_has_a_family() -> None:
    """Empty, with the prefix; new ones at each call, for series are put into them."""
    families = empty()
    assert [family.name for family in families.values()] == [f"changeover_{name}" for name, *_ in METRICS]
    assert families["ready"] is not empty()["ready"]
