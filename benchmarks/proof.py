"""How a door's proof goes: each check by itself, a JSON line for each, the same with a stock server beside it."""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, NamedTuple

_RSS_LIMIT_MB = 200
Figures = dict[str, Any]


class Check(NamedTuple):
    """Serves what its argument names, does its worst, and returns figures with `requests`, `lost`, `rss_max_mb`."""

    figures: Callable[[str], Figures]
    controlled: bool
    """Whether the control runs it too."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every proof has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--only", metavar="CHECK")
    made.add_argument("--no-control", action="store_true")
    return made


def prove(checks: dict[str, Check], control: str, options: argparse.Namespace) -> int:
    """Run the checks against the door and, where it tells something, against `control`; the exit code is 0 if all hold.

    A check holds when nothing was lost and no process was ever larger than 200 MB.
    """
    if options.only not in (None, *checks):
        raise SystemExit(f"--only: the checks are {', '.join(checks)}")
    names = [options.only] if options.only else list(checks)
    failed = []
    for name in names:
        if not _holds(name, checks[name], "door"):
            failed.append(name)
        if checks[name].controlled and not options.no_control:
            _holds(name, checks[name], control)
    print(json.dumps({"check": "all", "checks": len(names), "failed": failed}))
    return 1 if failed else 0


def _holds(name: str, check: Check, kind: str) -> bool:
    """Run one check and print its line; returns whether it holds."""
    began = time.monotonic()
    try:
        figures = check.figures(kind)
    except (OSError, subprocess.SubprocessError, ValueError, AssertionError, ImportError) as error:
        figures = {"requests": 0, "lost": -1, "rss_max_mb": 0.0, "error": repr(error)[:200]}
    line: Figures = {"check": name, "server": kind, **figures, "took": round(time.monotonic() - began, 1)}
    holds = bool(figures["lost"] == 0 and figures["rss_max_mb"] < _RSS_LIMIT_MB)
    line["holds"] = holds
    if kind != "door":
        line["control"] = True
    print(json.dumps(line), flush=True)
    return holds
