"""The documents say what the code does: diagrams, links, commands, settings and reason words are compared with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from changeover.cli.main import app
from changeover.lifecycle import states
from changeover.rollout import transitions
from changeover.settings import Settings
from tests.reasons import package, reasons

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DIAGRAMS = {"changeover.lifecycle.states": states.diagram, "changeover.rollout.transitions": transitions.diagram}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DIAGRAM = re.compile(r"<!-- diagram: (\S+) -->\n```mermaid\n(.*?)```", re.DOTALL)
_INLINE_COMMAND = re.compile(r"`changeover ([a-z]+)")
_MAKE = re.compile(r"\bmake ([a-z-]+)")


def test_diagrams_are_those_the_tables_draw() -> None:
    """The state diagrams in the architecture are the ones that the tables draw."""
    found = dict(_DIAGRAM.findall((ROOT / "docs" / "architecture.md").read_text()))
    assert found == {name: draw() for name, draw in DIAGRAMS.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page leads to a file of the project, and its anchor to a heading there."""
    for link in _LINK.findall(_without_blocks(page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name} links to {link}"


def test_commands_of_the_readme_exist() -> None:
    """Every `changeover` line in the README's shell blocks names a command of the CLI and options that it has."""
    lines = [line for line in _shell_lines(ROOT / "README.md") if line.startswith("changeover ")]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        command = _command(words)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_named_in_the_text_exist(page: Path) -> None:
    """Every command named in the text of a page is one of the CLI, and every `make` target one of the Makefile."""
    text = page.read_text()
    commands = set(_root().commands)
    assert set(_INLINE_COMMAND.findall(text)) <= commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *(body for _, body in _BLOCK.findall(text))])
    assert set(_MAKE.findall(code)) <= targets


def test_files_used_by_the_readme_exist() -> None:
    """Every file of the project that a command of the README names is there."""
    words = [word for line in _shell_lines(ROOT / "README.md") for word in shlex.split(line, comments=True)]
    named = [word for word in words if word.startswith(("src/", "examples/", "benchmarks/"))]
    assert named
    assert [word for word in named if not (ROOT / word).is_file()] == []


def test_every_setting_is_in_the_readme() -> None:
    """The configuration table of the README has all settings, and nothing else."""
    section = (ROOT / "README.md").read_text().split("\n## Configuration\n")[1].split("\n## ")[0]
    assert sorted(_first_column(section)) == sorted(field.name for field in fields(Settings))


def test_every_reason_is_in_the_tables() -> None:
    """The error tables of the operations page have every reason word of the source, each once, and no other."""
    section = (ROOT / "docs" / "operations.md").read_text().split("\n## Errors\n")[1]
    assert sorted(_first_column(section)) == sorted(reasons(package()))


def test_reasons_are_found_wherever_they_are_said() -> None:
    """The collector finds keywords, defaults, choices, helpers with and without a pattern, and written-out JSON."""
    source = """
class Bad(Exception):
    default_reason = "by_class"
    def __init__(self, status, reason): ...
def made(text, reason="by_default"): return Oops(text, reason=reason)
def built(kind): return Oops(reason=f"built_{kind}")
class Door:
    def _refuse(self, status, reason): ...
    def go(self):
        self._refuse(408, "by_method")
        raise Oops("x", reason="by_keyword" if self else "by_choice")
def more(told):
    Bad(400, "by_constructor"), made("x", "by_position"), built("part"), Oops(reason=told or "by_fallback")
    return b'{"error":"x","reason":"by_json"}'
"""
    expected = "choice class constructor default fallback json keyword method position"
    assert sorted(reasons({"a.py": source})) == sorted(["built_part", *(f"by_{word}" for word in expected.split())])


def test_every_decision_record_is_listed() -> None:
    """The list of decision records has them all."""
    folder = ROOT / "docs" / "adr"
    listed = set(_LINK.findall((folder / "README.md").read_text()))
    assert {path.name for path in folder.glob("[0-9]*.md")} <= listed


def _without_blocks(text: str) -> str:
    return _BLOCK.sub("", text)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", _without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _shell_lines(page: Path) -> Iterator[str]:
    for language, body in _BLOCK.findall(page.read_text()):
        if language == "sh":
            yield from body.splitlines()


def _root() -> Any:
    return typer.main.get_command(app)


def _command(words: list[str]) -> Any:
    """The command that a command line names, through its groups."""
    command = _root()
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"no command {' '.join(words)}"
        command = command.commands[word]
    return command


def _first_column(section: str) -> list[str]:
    """The words in code in the first column of a section's tables."""
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [word for cell in cells for word in re.findall(r"`([a-z0-9_]+)`", cell)]
