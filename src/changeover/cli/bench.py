"""`changeover bench`: load for a model, every answer timed, and checked where the right values are known."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Group, RenderableType

from changeover.access import Scope
from changeover.cli.client import JsonClient
from changeover.cli.credentials import Address
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import Output, grouped, speaks_to
from changeover.cli.output import Format, pairs, say, show, table
from changeover.client.ask import get, model_path

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, and how."""

    rate: Annotated[float | None, typer.Option(min=0.001, metavar="R", help="Open loop: requests a second.")] = None
    connections: Annotated[
        int, typer.Option(min=1, metavar="N", help="Callers of the closed loop; most connections of the open one.")
    ] = 32
    duration: Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds of sending.")] = 10.0
    requests: Annotated[int, typer.Option(min=0, metavar="N", help="Stop after N requests; 0: no bound.")] = 0
    binary: Annotated[bool, typer.Option("--binary/--json", help="Tensors as raw bytes or as JSON numbers.")] = True
    fresh: Annotated[float, typer.Option(min=0, max=1, help="Fraction of requests with a connection of their own.")] = 0
    poisson: Annotated[bool, typer.Option("--poisson", help="Random arrivals instead of even ones.")] = False
    input_file: Annotated[
        Path | None,
        typer.Option("--input", exists=True, dir_okay=False, help="Samples by input name, as described above."),
    ] = None
    version: Annotated[str, typer.Option(help="Ask for this version; default: the server chooses.")] = ""
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="A request unanswered so long has failed.")] = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to come of it."""

    find_capacity: Annotated[
        bool, typer.Option("--find-capacity", help="Closed-loop runs of --duration with 8 to 64 callers.")
    ] = False
    records: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the times of every request to this .npz.")
    ] = None


@speaks_to("url", Scope.INFER)
@grouped
def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    *,
    url: Annotated[str, typer.Option(help="The server's HTTP port.")] = "http://127.0.0.1:8000",
    load: Load,
    finding: Finding,
    output: Output = Format.TABLE,
) -> int:
    """Send load to a model; exit 0 only if every request was answered, and rightly.

    Without --rate it is a closed loop of --connections callers; with --rate an open loop, in which latency counts from
    the moment a request was due. Without --input the inputs are random numbers of the model's shapes.

    An --input file is an .npz with one array per input name, samples on the first axis, and, if answers are to be
    checked, one array `expected_VERSION` per version with the values of the model's first output.

    For example:

        changeover bench digits --duration 5

        changeover bench digits --rate 500 --poisson --fresh 0.1 -o json

        changeover bench digits --find-capacity --duration 2
    """
    document = _run(_spec(model, url, load), finding)
    view = capacity_table if finding.find_capacity else result_table
    show(document, output, lambda: view(document))
    return Exit.DONE if document["clean"] else Exit.FAILED


def _spec(model: str, url: str, load: Load) -> Any:
    """Return the `LoadSpec` of the command line."""
    from changeover.bench import LoadSpec
    from changeover.cli.samples import read_samples

    metadata = JsonClient(url, option="--url").call(get(model_path(model, None)))
    samples = read_samples(metadata["inputs"], load.input_file)
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise Usage("--url: the load generator speaks plain HTTP only")
    return LoadSpec(
        model=model,
        inputs=samples.inputs,
        expected=samples.expected,
        batched=samples.batched,
        host=parts.hostname or "",
        port=parts.port or 80,
        mode="closed" if load.rate is None else "open",
        rate=load.rate or 1.0,
        arrivals="poisson" if load.poisson else "constant",
        connections=load.connections,
        duration_s=load.duration,
        requests=load.requests,
        binary=load.binary,
        fresh=load.fresh,
        version=load.version,
        timeout_s=load.timeout,
        headers=tuple(url.credentials.headers.items()) if isinstance(url, Address) else (),
    )


def _run(spec: Any, finding: Finding) -> Document:
    """Run the load in its own process; Ctrl-C ends it early, with its result."""
    from changeover.bench import BenchProcess

    progress = _say_progress if sys.stderr.isatty() else None
    with BenchProcess(spec, capacity=finding.find_capacity, on_progress=progress) as process:
        try:
            document = process.result()
        except KeyboardInterrupt:
            process.stop()
            document = process.result(spec.timeout_s + 10)
        if finding.records is not None and not finding.find_capacity:
            process.records().save(finding.records)
    return document


def _say_progress(progress: Document) -> None:
    p50, p99 = (f"{progress[key]:.2f}" if progress[key] is not None else "-" for key in ("p50_ms", "p99_ms"))
    say(
        f"{progress['elapsed_s']:6.0f} s {progress['per_second']:7,} answers/s   p50 {p50} ms   p99 {p99} ms   "
        f"failed {progress['failed']:,}   shed {progress['shed']:,}   "
        f"wrong {progress['wrong'] + progress['wrong_version']:,}"
    )


def result_table(result: Document) -> RenderableType:
    """Return the result of a run for people."""
    load = f"{result['rate']:g}/s {result['arrivals']}" if result["rate"] else f"{result['connections']} callers"
    wrong = f"{result['wrong']:,} wrong, {result['wrong_version']:,} of another version, {result['stale']:,} stale"
    head = pairs(
        [
            ("load", f"{result['mode']} loop, {load}, {result['form']}, {result['fresh']:.0%} fresh connections"),
            (
                "requests",
                f"{result['requests']:,} in {result['elapsed_s']:.1f} s, {result['throughput']:,.0f} answers/s",
            ),
            ("failed", f"{result['failed']:,}, and {result['shed']:,} shed"),
            ("values", wrong if result["checked"] else "not checked"),
            ("generator", f"{result['generator_cpu']:.0%} of a core"),
        ]
    )
    latency = table("latency ms", *result["latency_ms"])
    latency.add_row("all", *(f"{value:.2f}" for value in result["latency_ms"].values()))
    for name, figures in result["versions"].items():
        latency.add_row(f"version {name}", *(f"{value:.2f}" for value in figures["latency_ms"].values()))
    if not result["failures"]:
        return Group(head, "", latency)
    failures = pairs((what, f"{count:,}") for what, count in result["failures"].items())
    return Group(head, "", latency, "", failures)


def capacity_table(found: Document) -> RenderableType:
    """Return the runs of a search for the capacity."""
    runs = table("callers", "answers/s", "p50 ms", "p99 ms", "failed")
    for run in found["runs"]:
        p50, p99 = (f"{run['latency_ms'].get(name, float('nan')):.2f}" for name in ("p50", "p99"))
        runs.add_row(str(run["connections"]), f"{run['throughput']:,.0f}", p50, p99, f"{run['failed']:,}")
    best = f"{found['capacity']:,.0f} answers/s with {found['connections']} callers"
    return Group(pairs([("capacity", best)]), "", runs)
