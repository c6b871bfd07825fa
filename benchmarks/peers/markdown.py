"""The tables of `docs/benchmarks.md` from the JSON lines of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from peers.machine import FOREIGN_LIMIT

Line = dict[str, Any]
MARKS = ("<!-- peers: begin -->", "<!-- peers: end -->")
HOPELESS = 0.25  # a load measured against a capacity that others then take away says nothing about a server
CELLS = (("json", 8), ("json", 32), ("binary", 8), ("binary", 32))


def write(page: Path, results: Path) -> None:
    """Put the tables of a run between the marks of a page."""
    before, rest = page.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{tables(results)}\n{MARKS[1]}{after}")


def tables(path: Path) -> str:
    """All tables of a run."""
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    parts = (_about(lines), _throughput(lines), _changeover(lines), _skipped(lines), _disturbed(lines))
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
    if not peers:
        return ""
    memory = {peer: f"{row['pss_mb']:.0f} MB" for (peer, _, _), row in found.items()}
    rows = [(peer, *(_rate(found.get((peer, *cell))) for cell in CELLS), memory[peer]) for peer in peers]
    model = next(iter(found.values()))["model"]
    return _table((f"{model}, requests/s", *(f"{form}, {n} conn." for form, n in CELLS), "memory"), rows)


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
    if row["foreign_cpu"] > HOPELESS:
        return (row["peer"], f"no figures: {row['foreign_cpu']:.0%} of the machine went to others", *[""] * 12)
    wrong = row["wrong"] + row["wrong_version"]
    failed = f"{row['failed']:,} of {row['requests']:,}"
    p99 = [_ms(row[key]) for key in ("steady_p99_ms", "window_p99_ms")]
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    times = [_ms(row[key]) for key in ("after_p99_ms", "worst_ms")]
    memory = [f"{row[key]:.0f} MB" for key in ("pss_before_mb", "pss_after_mb")]
    name = row["peer"] + (" \\*" if row["foreign_cpu"] > FOREIGN_LIMIT else "")
    return (name, row["form"], f"{row['capacity']:.0f}", *p99, ratio, *times, failed, str(wrong), *memory,
            str(row["changes"]), f"{row['change_s']:.1f} s")  # fmt: skip


def _ms(value: float | None) -> str:
    """A time, or a dash where no request was answered."""
    return "-" if value is None else f"{value:.0f} ms"


def _skipped(lines: Sequence[Line]) -> str:
    return "\n".join(f"- {row['peer']}, {row['part']}: skipped, {row['reason']}" for row in _of(lines, "peers_skipped"))


def _disturbed(lines: Sequence[Line]) -> str:
    """What the asterisks mean, when there are any."""
    shares = [line["foreign_cpu"] for line in lines if line.get("foreign_cpu", 0) > FOREIGN_LIMIT]
    if not shares:
        return ""
    return f"\\* other processes took more than {FOREIGN_LIMIT:.0%} of the machine meanwhile, up to {max(shares):.0%}"


def _of(lines: Sequence[Line], figure: str) -> Iterable[Line]:
    return (line for line in lines if line["figure"] == figure)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
