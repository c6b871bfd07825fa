"""The repository's calls over HTTP: bodies, answers, and who may make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from changeover.access import Scope
from changeover.errors import Conflict
from changeover.gateway.http import Endpoint, Route
from changeover.gateway.repository import Told
from changeover.gateway.repository_http import INDEX, LOAD, UNLOAD, RepositoryCalls
from tests.gateway.stage import Request


class Asked:
    """A repository that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.left = 0
        self.told: Told

    def index(self, *, ready: bool, told: Told) -> Callable[[], None]:
        return self._note(told, "index", ready)

    def load(self, model: str, parameters: Any, told: Told) -> Callable[[], None]:
        return self._note(told, "load", model, bytes(parameters) if parameters else parameters)

    def unload(self, model: str, told: Told) -> Callable[[], None]:
        return self._note(told, "unload", model)

    def _note(self, told: Told, *call: Any) -> Callable[[], None]:
        self.calls.append(call)
        self.told = told
        return self._leave

    def _leave(self) -> None:
        self.left += 1


def asked(what: str, body: bytes = b"") -> tuple[Asked, Request]:
    """One call."""
    repository, request = Asked(), Request(memoryview(body))  # type: ignore[arg-type]
    calls = RepositoryCalls(repository)  # type: ignore[arg-type]
    calls.handlers[what](request, Route(Endpoint(what, Scope.INFER), "m"))  # type: ignore[arg-type]
    return repository, request


@pytest.mark.parametrize(
    ("what", "body", "call"),
    [
        (INDEX, b"", ("index", False)),
        (INDEX, b"{}", ("index", False)),
        (INDEX, b'{"ready": true}', ("index", True)),
        (LOAD, b"", ("load", "m", [])),
        (LOAD, b'{"parameters": {}}', ("load", "m", b'{"parameters": {}}')),
        (UNLOAD, b'{"parameters": {"unload_dependents": true}}', ("unload", "m")),
    ],
)
def test_calls_are_handed_on(what: str, body: bytes, call: tuple[Any, ...]) -> None:
    """And a client that goes away is told of."""
    repository, request = asked(what, body)
    assert repository.calls == [call]
    assert request.abandoned is not None
    request.abandoned()
    assert (repository.left, request.status) == (1, 0)


@pytest.mark.parametrize(
    ("what", "outcome", "answer"),
    [
        (INDEX, [{"name": "m"}], (200, b'[{"name":"m"}]')),
        (INDEX, [], (200, b"[]")),
        (LOAD, [], (200, b"")),
        (LOAD, ["a"], (200, b'{"warnings":["a"]}')),
        (UNLOAD, ["a"], (200, b"")),
        (UNLOAD, None, (200, b"")),
        (LOAD, Conflict("x", reason="rollout_paused"), (409, b'{"error":"x","reason":"rollout_paused"}')),
    ],
)
def test_answers_are_as_tritons(what: str, outcome: Any, answer: tuple[int, bytes]) -> None:
    """An empty body where there is nothing to say."""
    repository, request = asked(what)
    repository.told(outcome)
    assert (request.status, request.answer) == answer
    assert (b"changeover-warning: a\r\n" in request.head) == (what == UNLOAD and bool(outcome))
    assert request.abandoned is None


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b" " * 5000, b"[" * 4000])
def test_an_index_that_makes_no_sense(body: bytes) -> None:
    """It is refused here."""
    repository, request = asked(INDEX, body)
    assert (request.status, repository.calls) == (400, [])
