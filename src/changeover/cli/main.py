"""The command `changeover`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from changeover import __version__
from changeover.cli import (
    bench,
    certificate,
    demo,
    doctor,
    events,
    model,
    model_tune,
    push,
    rehearse,
    report,
    rollout,
    schema,
    sequence,
    serve,
    status,
    top,
    undo,
)
from changeover.cli.exits import Exit, Usage, code_of
from changeover.cli.output import say
from changeover.errors import ChangeoverError

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, whichever click this typer brings
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="changeover",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.serve)
app.command()(push.push)
app.command()(status.status)
app.command()(top.top)
app.command()(events.events)
app.add_typer(rollout.app, name="rollout")
app.command()(undo.undo)
app.command()(rehearse.rehearse)
rollout.app.command()(rehearse.rehearse)
app.command()(certificate.certificate)
app.command()(report.report)
app.add_typer(model.app, name="model")
app.command()(model_tune.tune)
app.add_typer(sequence.app, name="sequence")
app.command()(schema.schema)
app.command()(bench.bench)
app.command()(demo.demo)
app.command()(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"changeover {__version__}")
        raise typer.Exit


@app.callback()
def changeover(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Replace the models of a live inference service, and no client can tell.

    Exit codes: 0 done, 1 rolled back or refused, 2 failed, 3 timeout, 64 usage.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors become one sentence on stderr."""
    try:
        result = app(list(arguments), prog_name="changeover", standalone_mode=False)
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined] # click's usage errors print themselves
        return Exit.USAGE
    except Usage as error:
        say(f"changeover: {error}")
        return Exit.USAGE
    except ChangeoverError as error:
        say(f"changeover: {error.message} [{error.reason}]")
        return code_of(error)
    except OSError as error:  # of a disk that is full, or of a file that may not be read
        named = f" ({error.filename})" if error.filename else ""
        say(f"changeover: {error.strerror or error}{named}")
        return Exit.FAILED
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    return int(result or Exit.DONE)


def main() -> None:
    """Entry point of the package."""
    _open_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:  # nobody reads, or the disk is full; not to be told again at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not code and not isinstance(error, BrokenPipeError):
            say(f"changeover: {error.strerror}")
        code = code or Exit.FAILED
    sys.exit(code)


def _open_streams() -> None:
    """Let what was closed lead to nowhere: else the server's first files and sockets would be its output."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is the closed one's
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))


if __name__ == "__main__":
    main()
