"""`changeover demo`: a live model is replaced under load, bad versions are not let through, and nobody notices."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from changeover.cli.certificate import certificate_table, headline
from changeover.cli.demo_view import DemoView
from changeover.cli.exits import Exit
from changeover.cli.options import Output
from changeover.cli.output import Format, pairs, say, show
from changeover.scratch import scratch

if TYPE_CHECKING:
    from changeover.bench import LoadSpec
    from changeover.demo.server import DemoServer

Document = dict[str, Any]

_LONGEST = 240.0  # seconds of traffic at most, whatever goes wrong


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up and print its addresses.")] = False,
    rate: Annotated[float, typer.Option(min=1, metavar="R", help="Requests a second.")] = 1000.0,
    output: Output = Format.TABLE,
) -> int:
    """Serve handwritten digits, replace the model under load, keep two bad ones from the clients, show the certificate.

    Version 2 takes over by a canary. Version 3 has its labels in the wrong order: its golden set stops it. Version 4
    becomes slow and errs after 3,000 runs, when all gates have passed it: the canary takes it back. Exit 0 only if all
    that happened, no request failed and every answer had the values of the version it named. Takes about a minute;
    needs no network.

    For example:

        changeover demo

        changeover demo --keep --rate 1000
    """
    from changeover.demo.server import DemoServer

    folder = scratch("demo")
    with ExitStack() as stack:
        if not keep:
            stack.callback(_remove, folder)
        say("starting a server with version 1 of the model `digits` …")
        server = stack.enter_context(DemoServer(folder))
        document = _play(server, rate)
        show(document, output, lambda: _ending(document))
        if keep:
            server.keep()
            say(_kept(server, folder))
    return Exit.DONE if document["passed"] else Exit.FAILED


def traffic(port: int, rate: float) -> LoadSpec:
    """Return the clients: random arrivals, one in ten with a fresh connection, every answer checked by its values."""
    from changeover.bench import LoadSpec
    from changeover.demo import digits

    samples = digits.load_samples()
    return LoadSpec(
        model=digits.MODEL,
        inputs={digits.INPUT: samples.inputs()},
        expected=samples.scores | {"4": samples.scores["2"]},
        output=digits.OUTPUT,
        port=port,
        rate=rate,
        arrivals="poisson",
        fresh=0.1,
        duration_s=_LONGEST,
    )


def _play(server: DemoServer, rate: float) -> Document:
    """Run the story with the traffic around it and a view of it on stderr."""
    from changeover.bench import BenchProcess
    from changeover.cli.client import ControlClient
    from changeover.cli.demo_story import tell

    with DemoView() as view, BenchProcess(traffic(server.http_port, rate), on_progress=view.progress) as bench:
        return tell(ControlClient(server.control_url, timeout=30.0), bench, view.event)


def _ending(document: Document) -> RenderableType:
    """Return the last page: certificate, what the clients counted, what was to be shown."""
    result = document["traffic"]
    marks = {True: Text("yes", "green"), False: Text("NO", "red")}
    checks = pairs((name, marks[passed]) for name, passed in document["checks"].items())
    latency = result["latency_ms"]
    clients = pairs(
        [
            ("clients", f"{result['failed']:,} failed of {result['requests']:,}, every value checked"),
            ("latency", f"p50 {latency.get('p50', 0):.2f} ms, p99 {latency.get('p99', 0):.2f} ms, from the due time"),
            *((f"version {version}", document["rollouts"][version]["detail"]) for version in ("3", "4")),
        ]
    )
    certificate = document["certificate"]
    title = f"certificate: {headline(certificate)}" if certificate else "no certificate"
    body = certificate_table(certificate) if certificate else "the rollout ended without one"
    return Group(Panel(body, title=title, expand=False), "", clients, "", checks)


def _kept(server: DemoServer, folder: Path) -> str:
    return (
        f"the server stays up: inference {server.url}, control {server.control_url}\n"
        f"  changeover status --control {server.control_url}\n"
        f"  changeover bench digits --url {server.url}\n"
        f"  stop it with: kill {server.pid}    (files: {folder})"
    )


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
