"""Every reason word of the source, found in its syntax trees: `python -m tests.reasons` prints them.

A word is what stands at a parameter or attribute called `reason` or `default_reason`, whichever helper it goes
through, or in a JSON answer that is written out.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "changeover"
_WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_IN_JSON = re.compile(r'"reason":\s*"([a-z0-9_]+)"')
_NOT_REASONS = frozenset({"reason", "detail"})

Words = dict[str, set[str]]
"""Names of files by reason word."""


@dataclass(frozen=True, slots=True)
class _Helper:
    """A function that takes a reason: the position of that parameter, and what the word is made of (`{}` its place)."""

    position: int
    pattern: str = "{}"


def package() -> dict[str, str]:
    """The package's source files: text by name."""
    return {str(path.relative_to(SOURCE)): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


def reasons(sources: Mapping[str, str]) -> Words:
    """All reason words of some files, with the files that say them."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    helpers = {name: helper for tree in trees.values() for name, helper in _helpers(tree)}
    found: Words = defaultdict(set)
    for name, tree in trees.items():
        for word in _words(tree, helpers):
            if _WORD.fullmatch(word) and word not in _NOT_REASONS:
                found[word].add(name)
    return dict(sorted(found.items()))


def _helpers(tree: ast.Module) -> Iterator[tuple[str, _Helper]]:
    """Functions and constructors with a parameter `reason`, or with one that a reason is built from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    yield from _helper(node.name, method)
        elif isinstance(node, ast.FunctionDef):
            yield from _helper(node.name, node)


def _helper(name: str, function: ast.FunctionDef) -> Iterator[tuple[str, _Helper]]:
    names = [argument.arg for argument in function.args.args if argument.arg != "self"]
    if "reason" in names:
        yield name, _Helper(names.index("reason"))
    for keyword in _reason_keywords(function):
        if isinstance(keyword.value, ast.JoinedStr):
            text, placeholders = _template(keyword.value)
            if len(placeholders) == 1 and placeholders[0] in names:
                yield name, _Helper(names.index(placeholders[0]), text)


def _template(joined: ast.JoinedStr) -> tuple[str, list[str]]:
    text, placeholders = "", []
    for part in joined.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        elif isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
            text += "{}"
            placeholders.append(part.value.id)
    return text, placeholders


def _reason_keywords(tree: ast.AST) -> Iterator[ast.keyword]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason":
            yield node


def _words(tree: ast.Module, helpers: dict[str, _Helper]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason" and not isinstance(node.value, ast.JoinedStr):
            yield from _constants(node.value)
        elif isinstance(node, ast.Call):
            yield from _positional(node, helpers)
        elif isinstance(node, ast.FunctionDef):
            yield from _defaults(node)
        elif isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "default_reason" for t in targets):
                yield from _constants(node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            yield from _IN_JSON.findall(text)


def _positional(call: ast.Call, helpers: dict[str, _Helper]) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    helper = helpers.get(name)
    if helper is not None and len(call.args) > helper.position:
        for word in _constants(call.args[helper.position]):
            yield helper.pattern.format(word)


def _defaults(function: ast.FunctionDef) -> Iterator[str]:
    arguments = function.args
    positional = zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)
    for argument, default in [*positional, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]:
        if argument.arg == "reason" and default is not None:
            yield from _constants(default)


def _constants(value: ast.expr) -> Iterator[str]:
    """The texts an expression may come to: a literal, either side of a choice, never the condition or an argument."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _constants(value.body)
        yield from _constants(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _constants(part)


if __name__ == "__main__":
    for found_word, files in reasons(package()).items():
        print(f"{found_word:32} {', '.join(sorted(files))}")  # noqa: T201 - it is a listing
