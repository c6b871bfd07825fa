"""`changeover status`: what serves at this moment."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, Control, Output, looks
from changeover.cli.output import Format, pairs, say, show, size, table

Document = dict[str, Any]


@looks
def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; default: all.")] = None,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Show what serves: versions, their roles, running rollouts.

    For example:

        changeover status

        changeover status digits -o json
    """
    client = ControlClient(control)
    if name is None:
        models = client.models()
        _warn(models)
        show({"models": models}, output, lambda: models_table(models))
    else:
        model = client.model(name)
        _warn([model])
        show(model, output, lambda: model_table(model))
    return Exit.DONE


def _warn(models: list[Document]) -> None:
    """Say it when versions go wrong on purpose: such a server is for rehearsals, and nobody's traffic belongs there."""
    faulty = [f"{m['name']}/{v['version']}" for m in models for v in m["versions"] if v.get("faults")]
    if faulty:
        say(f"WARNING: this server is a rehearsal: faults are injected into {', '.join(faulty)}")


def models_table(models: list[Document]) -> RenderableType:
    """Return one line a model; rate, latency and errors are its active version's."""
    if not models:
        return "no models yet: add NAME/1/model.onnx to the repository, or `changeover push NAME FILE`"
    made = table("model", "state", "active", "candidate", "standby", "epoch", "req/s", "p99 ms", "errors/s", "rollout")
    for model in models:
        versions = [str(model[role] or "-") for role in ("active", "candidate", "standby")]
        phase = model["rollout"]["phase"] if model.get("rollout") else "-"
        serving: Document = next((v for v in model.get("versions", []) if v["role"] == "active"), {})
        made.add_row(model["name"], model["state"], *versions, str(model["epoch"]), *_traffic(serving), phase)
    return made


def model_table(model: Document) -> RenderableType:
    """Return one model with its versions."""
    rollout, sequences = model.get("rollout"), model.get("sequences")
    head = pairs(
        [
            ("model", model["name"]),
            ("state", model["state"]),
            ("epoch", model["epoch"]),
            ("rollout", f"{rollout['id']} {rollout['phase']}" if rollout else None),
            ("why", (rollout.get("detail") or rollout.get("reason")) if rollout else None),
            ("sequences", f"{sequences['live']} live" if sequences else None),
            ("undo until", rollout.get("undo_until") if rollout else None),
            *_proposal((model.get("adaptive") or {}).get("proposal")),
        ]
    )
    return Group(head, "", versions_table(model["versions"]))


def _proposal(told: Document | None) -> list[tuple[str, object]]:
    """What the server has proposed, and by which command it is done."""
    if told is None:
        return []
    pushed = f", version {told['version']} by {told['rollout']}" if told["version"] else ""
    rows: list[tuple[str, object]] = [("tuning", f"{told['state']}{pushed}: {told['detail']}")]
    return [*rows, ("by", told["command"])] if told["state"] == "proposed" else rows


def versions_table(versions: list[Document]) -> RenderableType:
    """Return one line a version."""
    made = table("version", "role", "state", "worker", "memory", "req/s", "p99 ms", "errors/s", "why")
    for version in versions:
        worker = version.get("worker") or {}
        why = version.get("detail") or version.get("reason") or _fate(worker)
        pid, memory = str(worker.get("pid") or "-"), size(worker.get("rss_bytes") or None)
        made.add_row(version["name"], version["role"], version["state"], pid, memory, *_traffic(version), why)
    return made


def _traffic(version: Document) -> tuple[str, str, str]:
    """Rate, latency and errors of the last seconds; of one that lives."""
    told = version.get("traffic")
    if told is None:
        return "-", "-", "-"
    p99 = "-" if told["p99_ms"] is None else f"{told['p99_ms']:.2f}"
    return f"{told['requests_per_s']:,.1f}", p99, f"{told['errors_per_s']:,.2f}"


def _fate(worker: Document) -> str:
    """What the deaths of a version's workers came to, in words; nothing when none died."""
    last = worker.get("last_death")
    if not last:
        return ""
    code = last["code"]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    if worker["circuit"] == "closed":
        return f"replaced after: {last['cause']} ({how})"
    tried = f"next try in {worker['next_try']:g} s" if worker["circuit"] == "open" else "one is tried now"
    return f"crash loop, circuit {worker['circuit']}: {worker['deaths']} deaths, last: {last['cause']} ({how}); {tried}"
