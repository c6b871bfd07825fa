"""The cases of a client, run one after the other in its own process; each answer is a JSON line on stdout.

Nothing of this project is imported here: the clients' environments do not have it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

SHORT = 300
"""Characters of a request or an answer in the list of what failed."""
PATIENCE = 20.0
"""Seconds for what is to come to pass sooner or later."""

Check = Callable[[Any], Awaitable[None]]


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        name: the call, and which way of it.
        on: the clients that have it.
        check: calls and compares; whatever it raises is the failure.
        outside: what the server does not have: the check is that it says so, and it counts for nothing.
    """

    name: str
    on: frozenset[str]
    check: Check
    outside: bool


class Cases(list[Case]):
    """A file's cases, in their order."""

    def case(self, name: str, on: Iterable[str], *, outside: bool = False) -> Callable[[Check], Check]:
        """Add the decorated check."""

        def add(check: Check) -> Check:
            self.append(Case(name, frozenset(on), check, outside))
            return check

        return add


class Caller:
    """A client of any kind: its calls are awaited, remembered for the list of failures, and counted as made.

    Args:
        client: the foreign one.
        where: what the bench has told: ports, version, files.
    """

    def __init__(self, client: Any, where: dict[str, Any]) -> None:
        self.client = client
        self.where = where
        self.kind: str = where["client"]
        self.made: set[str] = set()
        self.request = ""

    async def call(self, name: str, *given: Any, **named: Any) -> Any:
        """One call of the client, whether it is a coroutine or not."""
        self.made.add(name)
        arguments = [_shown(value) for value in given] + [f"{key}={_shown(value)}" for key, value in named.items()]
        self.request = f"{name}({', '.join(arguments)})"[:SHORT]
        told = getattr(self.client, name)(*given, **named)
        return await told if inspect.isawaitable(told) else told

    async def fails(self, awaited: Awaitable[Any]) -> Exception:
        """What a call raises.

        Raises:
            AssertionError: it was answered.
        """
        try:
            told = await awaited
        except Exception as error:  # noqa: BLE001 - whatever the foreign client raises is the answer
            return error
        raise AssertionError(f"it must fail, and was answered with {told!r}")


def _shown(value: Any) -> str:
    """An argument for the list of failures: tritonclient's tensors by what they are, `a INT32 [2, 16]`."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if callable(getattr(value, "name", None)):
        parts = [getattr(value, part)() for part in ("name", "datatype", "shape") if hasattr(value, part)]
        return " ".join(map(str, parts))
    return repr(value)


def same(found: Any, expected: Any) -> None:
    """Compare by value.

    Raises:
        AssertionError: with both.
    """
    if found != expected:
        raise AssertionError(f"answered {found!r}, expected {expected!r}")


def holds(text: object, *words: str) -> None:
    """Every word is in an error's text; raises as `same`."""
    for word in words:
        if word.lower() not in str(text).lower():
            raise AssertionError(f"{word!r} is not in the answer {str(text)!r}")


async def until(told: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something comes to pass within the time."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not await told():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def run(caller: Caller, cases: Iterable[Case]) -> None:
    """All cases that apply; one that does not is told too."""
    for case in cases:
        if caller.kind not in case.on:
            tell(case.name, "-")
            continue
        caller.request = ""
        try:
            await case.check(caller)
        except Exception as error:  # noqa: BLE001 - the failure is the figure
            answer = f"{type(error).__name__}: {' '.join(str(error).split())}"
            tell(case.name, "FAIL", request=caller.request, answer=answer[: 2 * SHORT])
        else:
            tell(case.name, "refused" if case.outside else "ok")


def uncalled(caller: Caller, kind: type) -> list[str]:
    """Public calls of a client that no case made."""
    return sorted(name for name in dir(kind) if not name.startswith("_") and name not in caller.made)


def tell(case: str, result: str, **more: str) -> None:
    """A row's cell of this client: `ok`, `FAIL`, `refused` or `-` for what it has not."""
    print(json.dumps({"case": case, "result": result, **more}), flush=True)


def told() -> dict[str, Any]:
    """What the bench has told this process."""
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return {**found, "client": sys.argv[2]}
