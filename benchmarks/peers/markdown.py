"""The tables of `docs/benchmarks.md` from the JSON lines of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]
CELLS = (("json", 8), ("json", 32), ("binary", 8), ("binary", 32))


def tables(path: Path) -> str:
    """All tables of a run."""
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    parts = (_about(lines), _throughput(lines), _changeover(lines), _skipped(lines))
    return "\n\n".join(part for part in parts if part)


def _about(lines: Sequence[Line]) -> str:
    about = next(iter(_of(lines, "peers_about")))
    machine = f"{about['date']}, {about['cpus']} CPUs ({about['processor']}), kernel {about['kernel']}"
    rows = ((title, ", ".join(f"{k} {v}" for k, v in found.items())) for title, found in about["versions"].items())
    text = f"Run of {machine}, Python {about['python']}, {about['load']}; `{about['command']}`."
    return text + "\n\n" + _table(("server", "versions"), rows)


def _throughput(lines: Sequence[Line]) -> str:
    found = {(r["peer"], r["form"], r["connections"]): r for r in _of(lines, "peers_throughput")}
    peers = list(dict.fromkeys(peer for peer, _, _ in found))
    rows = [(peer, *(_rate(found.get((peer, *cell))) for cell in CELLS)) for peer in peers]
    return _table(("requests/s", *(f"{form}, {n} conn." for form, n in CELLS)), rows) if rows else ""


def _rate(row: Line | None) -> str:
    if row is None:
        return "-"
    ratio = row.get("ours_to_theirs")
    mark = " \\*" if row["disturbed_rounds"] else ""
    return f"{row['per_second']:,}" + (f" (ours {ratio} x)" if ratio else "") + mark


def _changeover(lines: Sequence[Line]) -> str:
    head = ("changeover, 47 MB", "form", "capacity/s", "p99 steady", "p99 window", "ratio", "p99 after", "worst",
            "failed", "wrong", "PSS before", "PSS after", "changes", "each took")  # fmt: skip
    rows = [_change(row) for row in _of(lines, "peers_changeover")]
    return _table(head, rows) if rows else ""


def _change(row: Line) -> tuple[str, ...]:
    wrong = row["wrong"] + row["wrong_version"]
    failed = f"{row['failed']:,} of {row['requests']:,}"
    times = (f"{row[key]:.0f} ms" for key in ("after_p99_ms", "worst_ms"))
    memory = (f"{row[key]:.0f} MB" for key in ("pss_before_mb", "pss_after_mb"))
    return (row["peer"], row["form"], f"{row['capacity']:.0f}", f"{row['steady_p99_ms']:.0f} ms",
            f"{row['window_p99_ms']:.0f} ms", f"{row['ratio']:.2f}", *times, failed, str(wrong), *memory,
            str(row["changes"]), f"{row['change_s']:.1f} s")  # fmt: skip


def _skipped(lines: Sequence[Line]) -> str:
    return "\n".join(f"- {row['peer']}, {row['part']}: skipped, {row['reason']}" for row in _of(lines, "peers_skipped"))


def _of(lines: Sequence[Line], figure: str) -> Iterable[Line]:
    return (line for line in lines if line["figure"] == figure)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
