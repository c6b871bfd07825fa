"""Options that commands share: every command that speaks to a server can show who asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from changeover.cli.exits import Exit
from changeover.cli.main import app, run
from changeover.cli.options import grouped
from tests.cli.fake import FakeControl, usual

TOKEN = "admin-0123456789abcdef"  # noqa: S105 - of this test


@pytest.fixture
def control() -> Iterator[FakeControl]:
    """A usual server."""
    with usual() as fake:
        yield fake


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    """A file with two tokens."""
    path = tmp_path / "tokens"
    path.write_text(f"infer infer-0123456789abcdef\nadmin {TOKEN}\n")
    path.chmod(0o600)
    return str(path)


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the CLI with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_every_command_that_names_a_server_can_show_who_asks() -> None:
    """And none takes a token itself: `ps` would show it."""
    found = 0
    for name, command in commands(typer.main.get_command(app)):
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--token" not in options, name
        if options & {"--control", "--url"}:
            found += 1
            assert {"--token-file", "--cacert", "--client-cert", "--client-key"} <= options, name
    assert found >= 8


@pytest.mark.parametrize(
    "command",
    [["status"], ["model", "list"], ["rollout", "status", "digits"], ["certificate", "digits"], ["undo", "digits"]],
)
def test_the_token_of_a_file_is_sent(command: list[str], control: FakeControl, token_file: str) -> None:
    """The first one with the scope `admin`, with every request."""
    assert run([*command, "--control", control.url, "--token-file", token_file]) == 0
    assert {seen.authorization for seen in control.seen} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["model", "list"],
        ["model", "inspect", "digits"],
        ["rollout", "status", "digits"],
        ["rollout", "list"],
        ["rollout", "history", "digits"],
        ["certificate", "digits"],
    ],
)
def test_a_token_for_looking_is_enough_to_look(command: list[str], control: FakeControl, tmp_path: Path) -> None:
    """And is no token for a command that changes something: that one is told so before it asks."""
    reader, path = "read-0123456789abcdef", tmp_path / "reader"
    path.write_text(f"read {reader}\n")
    path.chmod(0o600)
    assert run([*command, "--control", control.url, "--token-file", str(path)]) == 0
    assert {seen.authorization for seen in control.seen} == {f"Bearer {reader}"}
    asked = len(control.seen)
    assert run(["undo", "digits", "--control", control.url, "--token-file", str(path)]) == Exit.USAGE
    assert len(control.seen) == asked


def test_the_environment_says_the_same(
    control: FakeControl, token_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`CHANGEOVER_TOKEN_FILE` names a file, and `CHANGEOVER_TOKEN` wins over it; nothing of it is printed."""
    monkeypatch.setenv("CHANGEOVER_TOKEN_FILE", token_file)
    assert run(["status", "--control", control.url]) == 0
    monkeypatch.setenv("CHANGEOVER_TOKEN", "another")
    assert run(["status", "--control", control.url]) == 0
    assert [seen.authorization for seen in control.seen] == [f"Bearer {TOKEN}", "Bearer another"]
    assert run(["status", "--help"]) == 0
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err


def test_without_a_token_none_is_sent(control: FakeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """As to a server that asks nobody."""
    monkeypatch.delenv("CHANGEOVER_TOKEN", raising=False)
    assert run(["status", "--control", control.url]) == 0
    assert [seen.authorization for seen in control.seen] == [None]


@pytest.mark.parametrize(("status", "reason"), [(401, "unauthenticated"), (403, "forbidden")])
def test_a_refusal_is_told(status: int, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the server's words and the exit code of a refusal."""
    with FakeControl({"GET /v1/models": (status, {"error": "no entry", "reason": reason})}) as fake:
        assert run(["status", "--control", fake.url]) == 1
    assert f"no entry [{reason}]" in capsys.readouterr().err


@dataclass(frozen=True)
class Shape:
    """A group of options."""

    side: Annotated[int, typer.Argument()]
    round: Annotated[bool, typer.Option("--round")] = False
    name: Annotated[str, typer.Option()] = "a"


def test_a_group_is_its_options() -> None:
    """The command line shows a group's fields where the group stands, and the command gets the group."""
    got: list[object] = []

    @grouped
    def draw(place: Annotated[str, typer.Argument()], *, fast: bool = False, shape: Shape, last: str = "z") -> int:
        got.extend((place, fast, shape, last))
        return 7

    typed = typer.Typer()
    typed.command()(draw)
    command: Any = typer.main.get_command(typed)
    assert [p.name for p in command.params[:6]] == ["place", "fast", "side", "round", "name", "last"]
    assert command.main(["here", "3", "--round", "--fast"], standalone_mode=False) == 7
    assert got == ["here", True, Shape(3, True, "a"), "z"]
