"""Options that many commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import typer

from changeover.access import Scope
from changeover.cli.credentials import Address, token_for
from changeover.cli.output import Format
from changeover.client.credentials import Credentials

Control = Annotated[
    str,
    typer.Option("--control", envvar="CHANGEOVER_CONTROL", metavar="URL", help="Control port of the server."),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="Form of the result on stdout.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the rollout's end; exit 0 only on success.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="S", help="Longest wait in seconds (exit 3).")]


def _name(name: str) -> str:
    """Refuse what would be another path of the control port: a file's, for example."""
    if not name or "/" in name:
        raise typer.BadParameter(f"{name!r} is no name for a model; take letters, digits, . _ -")
    return name


ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.", callback=_name)]

CONTROL = "http://127.0.0.1:8002"
TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether and how long a command waits for the end of the rollout that it starts."""

    wait: Wait = False
    timeout: Timeout = TIMEOUT


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

        return cast(_Command, _with_parameters(run, [*_parameters(command), *_access_parameters()]))

    return decorate


looks = speaks_to(scope=Scope.READ)
"""The same for a command that changes nothing."""


def grouped(command: _Command) -> _Command:
    """Let a parameter whose type is a dataclass stand for a group of options, one a field: typer knows no groups."""
    groups = {p.name: cast(type[Any], p.annotation) for p in _parameters(command) if is_dataclass(p.annotation)}

    @wraps(command)
    def run(**values: Any) -> int:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return command(**values)

    parameters: list[inspect.Parameter] = []
    for parameter in _parameters(command):
        group = groups.get(parameter.name)
        parameters += [parameter] if group is None else _parameters_of(group)
    return cast(_Command, _with_parameters(run, parameters))


def _parameters(command: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """What a command takes, by name: the order of the command line is the order in which they stand."""
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _parameters_of(group: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def _with_parameters(run: Callable[..., int], parameters: list[inspect.Parameter]) -> Callable[..., int]:
    """A command that shows these parameters to typer."""
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return run


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
