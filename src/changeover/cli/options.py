"""Options that many commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from changeover.access import Scope
from changeover.cli.credentials import Address, Credentials, token_for
from changeover.cli.output import Format

Control = Annotated[
    str,
    typer.Option("--control", envvar="CHANGEOVER_CONTROL", metavar="URL", help="Control port of the server."),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="Form of the result on stdout.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the rollout's end; exit 0 only on success.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="S", help="Longest wait in seconds (exit 3).")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]

CONTROL = "http://127.0.0.1:8002"
TIMEOUT = 1800.0

_ACCESS = {
    "token_file": "File with the token to send, in the server's form; or set CHANGEOVER_TOKEN.",
    "cacert": "CA of the server's certificate, PEM; default: the system's.",
    "client_cert": "Client certificate to show, PEM.",
    "client_key": "Its key, PEM.",
}
_Command = TypeVar("_Command", bound=Callable[..., int])


def speaks_to(address: str = "control", scope: Scope = Scope.ADMIN) -> Callable[[_Command], _Command]:
    """Give a command the options of access, and hand it its server's URL as an `Address` that carries them.

    Args:
        address: the command's parameter with the URL.
        scope: of the token that it needs there.
    """

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def run(**values: Any) -> int:
            files = {name: values.pop(name) for name in _ACCESS}
            token = token_for(scope, files.pop("token_file"))
            values[address] = Address(values[address], Credentials(token, **files))
            return command(**values)

        parameters = [*inspect.signature(command, eval_str=True).parameters.values(), *_access_parameters()]
        run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
        return run  # type: ignore[return-value] # it takes what the command takes, and more

    return decorate


def _access_parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(envvar=f"CHANGEOVER_{name.upper()}", metavar="FILE", help=text)
            ],
        )
        for name, text in _ACCESS.items()
    ]
