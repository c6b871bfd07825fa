"""`changeover top`: what every model does now, as a table that lives."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from rich.console import RenderableType
from rich.live import Live

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, Control, Output, looks
from changeover.cli.output import Format, console, show, size, table
from changeover.cli.rollouts import percent
from changeover.client.ask import Document, Unreachable, get

_AGAIN_S = 1.0
"""Pause before a connection that broke is made again."""
_PLACES = {"active": 0, "candidate": 1, "standby": 2}
_RIGHT = ("traffic", "req/s", "p50 ms", "p95 ms", "p99 ms", "errors/s", "in flight", "memory")


@looks
def top(control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """Show what every model does: rate, latency, errors, memory of each version, once a second.

    In a terminal it goes on until interrupted; elsewhere, and with -o json or yaml, it shows one second.

    For example:

        changeover top

        changeover top -o json
    """
    client = ControlClient(control, timeout=30.0)
    if output is Format.TABLE and sys.stdout.isatty():
        return _live(client)
    sample = next(_samples(client), None)
    if sample is None:
        raise Unreachable("the server ended before it had told of a second", reason="control_unreachable")
    show(sample, output, lambda: picture(sample))
    return Exit.DONE


def _live(client: ControlClient) -> int:
    with Live(console=console(), auto_refresh=False, screen=True) as live:
        for sample, silent_s in _followed(client):
            live.update(picture(sample, silent_s), refresh=True)
    return Exit.DONE


def _followed(client: ControlClient) -> Iterator[tuple[Document, float]]:
    """Yield every sample with the seconds since the server last spoke; a connection that breaks is made again.

    Raises:
        Unreachable: nobody answers the first time.
    """
    last: Document | None = None
    heard = time.monotonic()
    while True:
        try:
            for last in _samples(client):
                heard = time.monotonic()
                yield last, 0.0
        except Unreachable:
            if last is None:
                raise
        if last is not None:
            yield last, time.monotonic() - heard
        time.sleep(_AGAIN_S)


def _samples(client: ControlClient) -> Iterator[Document]:
    for line in client.lines(get("/v1/events?types=sample")):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def picture(sample: Document, silent_s: float = 0.0) -> RenderableType:
    """Return one line a version that lives; `silent_s`: how old that is, said from two seconds on."""
    made = table("model", "version", "role", *_RIGHT, "rollout")
    for column in made.columns[3:-1]:
        column.justify = "right"
        column.no_wrap = True
    for name, model in sample["models"].items():
        versions = sorted(model["versions"].items(), key=lambda v: (_PLACES.get(v[1]["role"], 3), v[0]))
        for version, told in versions:
            made.add_row(name, version, told["role"], *_numbers(told), _rollout(model, told))
        if not versions:
            made.add_row(name, "-", "none", *["-"] * len(_RIGHT), _rollout(model, {"role": "candidate"}))
    if silent_s >= 2:
        made.caption, made.caption_style = f"no answer from the server for {silent_s:.0f} s", "bold magenta"
    return made


def _numbers(told: Document) -> list[str]:
    """Of one version: share, rates, latency, what is in flight, memory; a version without answers has no latency."""
    times = ("-" if told[name] is None else f"{told[name]:.2f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
    return [
        percent(told["weight"]),
        f"{told['requests_per_s']:,.1f}",
        *times,
        f"{told['errors_per_s']:,.2f}",
        f"{told['in_flight']:,}",
        size(told["memory_bytes"]),
    ]


def _rollout(model: Document, told: Document) -> str:
    """Beside the version that a rollout under way is about."""
    rollout = model.get("rollout")
    if not rollout or told["role"] not in ("candidate", "active"):
        return ""
    if told["role"] == "active" and rollout["phase"] not in ("promoting", "watching"):
        return ""
    step = rollout.get("step")
    return f"{rollout['phase']} {step['name']}" if step else str(rollout["phase"])
