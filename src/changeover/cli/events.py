"""`changeover events`: what has happened, and what happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
import yaml

from changeover.cli.client import ControlClient
from changeover.cli.options import CONTROL, Control, Output, looks
from changeover.cli.output import Format, say
from changeover.cli.rollouts import percent
from changeover.client.ask import Document, Unreachable, get

_AGAIN_S = 1.0
"""Pause before a connection that broke is made again."""
_PRESENT = b": present"

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until interrupted.")]
Last = Annotated[int, typer.Option("--last", min=0, metavar="N", help="Begin with so many of the newest.")]
After = Annotated[int | None, typer.Option("--after", min=0, metavar="ID", help="Begin after this event.")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only what is about this model.")]
Types = Annotated[
    str, typer.Option("--types", metavar="A,B", help="Such as rollout, version, operator, alert, sample.")
]


@looks
def events(
    follow: Follow = False,
    last: Last = 20,
    after: After = None,
    model: Model = None,
    types: Types = "rollout,version,operator,alert,certificate,proposal",
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Show what has happened: a line an event, the oldest first.

    With -f it goes on, also over a restart of the server, without a gap or a repeat. With -o json each line is one JSON
    document.

    For example:

        changeover events -f --types rollout,alert

        changeover events --after 0 -o json
    """
    begin = {"last": last} if after is None else {"after": after}
    wanted = {**begin, "types": types, **({"model": model} if model else {})}
    for event in _followed(ControlClient(control, timeout=30.0), wanted, follow=follow):
        print(_as_text(event, output), flush=True)
    return 0


def _followed(client: ControlClient, wanted: dict[str, Any], *, follow: bool) -> Iterator[Document]:
    """Yield events; a connection that breaks is made again after the last of them.

    Raises:
        Unreachable: nobody answers the first time.
    """
    place, connected = wanted, False
    while True:
        try:
            for number, event in _events(client.lines(get(f"/v1/events?{urlencode(place)}")), follow=follow):
                connected = True
                if event is not None:
                    yield event
                if number is not None:
                    place = {**{name: value for name, value in wanted.items() if name != "last"}, "after": number}
        except Unreachable as error:
            if not follow or not connected:
                raise
            say(f"changeover: {error.message}; trying again")
        if not follow:
            return
        time.sleep(_AGAIN_S)


def _events(lines: Iterator[bytes], *, follow: bool) -> Iterator[tuple[int | None, Document | None]]:
    """Yield the events of a stream with their numbers; without `follow`, up to where the present begins.

    A number without an event is where a reader is that was told nothing of late.
    """
    number: int | None = None
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"id":
            number = int(value)
        elif name == b"data":
            yield number, json.loads(value)
            number = None
        elif not line and number is not None:
            yield number, None
            number = None
        elif line == _PRESENT and not follow:
            return


def _as_text(event: Document, output: Format) -> str:
    if output is Format.JSON:
        return json.dumps(event, ensure_ascii=False)
    if output is Format.YAML:
        return "---\n" + yaml.safe_dump(event, sort_keys=False, allow_unicode=True).rstrip()
    return line(event)


def line(event: Document) -> str:
    """Return an event in one line."""
    at = datetime.fromtimestamp(event["at"]).astimezone()
    tell = _TELL.get(event["type"], _rest)
    return f"{at:%Y-%m-%d %H:%M:%S} {event['type']:<11} {event.get('model') or '-'} {tell(event)}".rstrip()


def _rollout(event: Document) -> str:
    way = f"{event['from'] or 'nothing'} → {event['to']}"
    step = f" {event['step']}" if event.get("step") else ""
    return f"{event['rollout']} {way} {event['phase']}{step}{_by(event)}{_why(event)}"


def _version(event: Document) -> str:
    return f"{event['version']}@{event['digest'][:4]} {event['state']}{_why(event)}"


def _operator(event: Document) -> str:
    more = "".join(f" {event[name]}" for name in ("version", "weight", "sequence") if event.get(name))
    refused = f" refused: {event['detail']}" if event.get("refused") else ""
    return f"{event['asked']}{more}{_by(event)}{refused}"


def _certificate(event: Document) -> str:
    return f"{event['rollout']} {event['outcome']}{_by(event)}"


def _alert(event: Document) -> str:
    return f"{event['state']} {event['alert']}: {event['detail']}"


def _proposal(event: Document) -> str:
    came = f" version {event['version']}, {event['rollout']}" if event.get("version") else ""
    how = f": {event['command']}" if event["state"] == "proposed" else ""
    return f"tuning {event['state']}{came} ({event['detail']}){how}"


def _sample(event: Document) -> str:
    return "; ".join(
        f"{name}/{version} {told['requests_per_s']:g}/s p99 {told['p99_ms'] or '-'} ms {percent(told['weight'])}"
        for name, model in event["models"].items()
        for version, told in model["versions"].items()
    )


def _reset(event: Document) -> str:
    return f"events {event['asked'] + 1} to {event['first'] - 1} are no longer kept"


def _rest(event: Document) -> str:
    left_out = ("type", "id", "at", "time", "model")
    return " ".join(f"{name}={value}" for name, value in event.items() if name not in left_out)


_TELL = {
    "rollout": _rollout,
    "version": _version,
    "operator": _operator,
    "certificate": _certificate,
    "alert": _alert,
    "proposal": _proposal,
    "sample": _sample,
    "reset": _reset,
}


def _by(event: Document) -> str:
    return f" ({event['by']})" if event.get("by") else ""


def _why(event: Document) -> str:
    why = event.get("detail") or event.get("reason")
    return f": {why}" if why else ""
