"""`changeover certificate`: the record of a changeover, with measured numbers only."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, Control, ModelName, Output, looks
from changeover.cli.output import Format, pairs, say, show, size, table
from changeover.errors import NotFound

Document = dict[str, Any]


@looks
def certificate(
    name: ModelName,
    rollout: Annotated[
        str | None, typer.Argument(metavar="[ROLLOUT]", help="Default: the latest that has one.")
    ] = None,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Show the certificate of a changeover.

    For example:

        changeover certificate digits

        changeover certificate digits r-000003 -o json
    """
    client = ControlClient(control)
    document = client.certificate(rollout) if rollout else latest(client, name)
    show(document, output, lambda: certificate_table(document))
    return Exit.DONE


def latest(client: ControlClient, name: str) -> Document:
    """Return the newest certificate of a model.

    Raises:
        NotFound: it has none yet.
    """
    for rollout in client.history(name):
        try:
            return client.certificate(rollout["id"])
        except NotFound:
            say(
                f"rollout {rollout['id']} is {rollout['phase']} and has no certificate yet: it comes five seconds "
                "after the switch; looking at the one before"
            )
    raise NotFound(
        f"model {name} has no certificate yet: one is written when a rollout ends; see "
        f"`changeover rollout status {name}`",
        reason="no_certificate",
    )


def certificate_table(document: Document) -> RenderableType:
    """Return a certificate for people."""
    head = pairs([*_who(document), *_requests(document), *_switch(document), *_memory(document), *_loading(document)])
    return Group(head, "", _latency(document), "", _gates(document))


def headline(document: Document) -> str:
    """Return the certificate in one line: `0 failed of 12,345`."""
    requests = document.get("requests")
    return "requests were not counted" if not requests else f"{requests['failed']:,} failed of {requests['total']:,}"


def _who(document: Document) -> list[tuple[str, object]]:
    return [
        ("certificate", f"{document['model']} {_version(document['from'])} → {_version(document['to'])}"),
        ("rollout", document["rollout"]),
        ("outcome", f"{document['outcome']}, decided by {document['decided_by']}"),
        ("time", f"{document['started']} to {document['ended']}"),
    ]


def _requests(document: Document) -> list[tuple[str, object]]:
    requests = document.get("requests") or {}
    return [("requests", headline(document)), ("shielded", requests.get("shielded")), ("shed", requests.get("shed"))]


def _switch(document: Document) -> list[tuple[str, object]]:
    switch = document.get("switch")
    if not switch:
        return [("switch", "none")]
    acks = f"{_number(switch['first_ack_ms'])} / {_number(switch['last_ack_ms'])} ms"
    return [
        ("switch", f"epoch {switch['epoch']}, stored {switch['store_time']} in {_number(switch['store_ns'])} ns"),
        ("journal", f"{_number(switch['journal_ms'])} ms before the store"),
        ("acknowledged", f"{acks} after the store (first / last of {switch['gateways']})"),
        ("stale picks", _number(switch["stale_picks"])),
    ]


def _memory(document: Document) -> list[tuple[str, object]]:
    memory = document.get("memory") or {}
    if not any(memory.values()):
        return []
    before, peak, after = (size(memory.get(f"{when}_bytes")) for when in ("before", "peak", "after"))
    text = f"{before} before, {peak} at most, {after} after, {size(memory.get('released_bytes'))} given back"
    return [("memory", text)]


def _loading(document: Document) -> list[tuple[str, object]]:
    loading = document.get("loading") or {}
    if loading.get("load_seconds") is None:
        return []
    cache = f", cache {loading['cache']}" if loading.get("cache") else ""
    return [("loading", f"{loading['load_seconds']:.2f} s, kept quiet by {loading.get('quiet_method')}{cache}")]


def _latency(document: Document) -> RenderableType:
    made = table("latency", "requests", "p50 ms", "p99 ms")
    for when, window in (document.get("latency") or {}).items():
        if window:
            made.add_row(when, f"{window['requests']:,}", _number(window["p50_ms"]), _number(window["p99_ms"]))
    return made


def _gates(document: Document) -> RenderableType:
    made = table("gate", "outcome", "evidence")
    for gate in document.get("gates", []):
        evidence = gate.get("evidence", {})
        facts = ", ".join(f"{name} {value}" for name, value in evidence.items())
        made.add_row(gate["gate"], gate["outcome"], str(evidence.get("detail") or gate.get("reason") or facts))
    return made


def _version(reference: Document | None) -> str:
    return f"{reference['version']}@{reference['digest'][:4]}" if reference else "nothing"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
