"""The repository's calls over gRPC: messages, answers, and what a client is told."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.access import Scope
from changeover.errors import Conflict, InvalidRequest
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.grpc import METHODS
from changeover.gateway.grpc_repository import INDEX, LOAD, UNLOAD, RepositoryCalls
from changeover.gateway.repository import Told
from tests.gateway.calls import INFERENCE, FakeCall, call


class Asked:
    """A repository that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.left = 0
        self.told: Told

    def index(self, *, ready: bool, told: Told) -> Any:
        return self._note(told, "index", ready)

    def load(self, model: str, parameters: Any, told: Told) -> Any:
        return self._note(told, "load", model, [(name, bytes(value)) for name, value in parameters])

    def unload(self, model: str, told: Told) -> Any:
        return self._note(told, "unload", model)

    def _note(self, told: Told, *noted: Any) -> Any:
        self.calls.append(noted)
        self.told = told
        return self._leave

    def _leave(self) -> None:
        self.left += 1


def asked(what: str, one: FakeCall) -> Asked:
    """One call."""
    repository = Asked()
    RepositoryCalls(repository).handlers[what](one)  # type: ignore[arg-type]
    return repository


@pytest.mark.parametrize(
    ("what", "one", "noted"),
    [
        (INDEX, call("RepositoryIndex"), ("index", False)),
        (INDEX, call("RepositoryIndex", ready=True), ("index", True)),
        (LOAD, call("RepositoryModelLoad", model_name="m"), ("load", "m", [])),
        (
            LOAD,
            call(
                "RepositoryModelLoad",
                model_name="m",
                parameters={
                    "config": {"string_param": "{}"},
                    "file:1/model.onnx": {"bytes_param": b"onnx"},
                    "a": {"bool_param": True},
                    "b": {"int64_param": 7},
                },
            ),
            ("load", "m", [("config", b"{}"), ("file:1/model.onnx", b"onnx"), ("a", b"true"), ("b", b"7")]),
        ),
        (UNLOAD, call("RepositoryModelUnload", model_name="m"), ("unload", "m")),
    ],
)
def test_calls_are_handed_on(what: str, one: FakeCall, noted: tuple[Any, ...]) -> None:
    """And a client that goes away is told of."""
    repository = asked(what, one)
    assert repository.calls == [noted]
    assert one.abandoned is not None
    one.abandoned()
    assert (repository.left, one.status) == (1, None)


def test_an_index_lists_what_the_controller_says() -> None:
    """By the names of the JSON document."""
    one = call("RepositoryIndex")
    entry = {"name": "m", "version": "1", "state": "READY", "reason": ""}
    asked(INDEX, one).told([entry])
    assert (one.status, one.abandoned) == (Status.OK, None)
    assert [dict(model) for model in one.values("RepositoryIndexResponse")["models"]] == [entry]


@pytest.mark.parametrize("what", [LOAD, UNLOAD])
def test_what_is_done_is_told_without_a_word(what: str) -> None:
    """But for warnings, which are metadata; an error has its code and reason."""
    name = "RepositoryModelLoad" if what == LOAD else "RepositoryModelUnload"
    for outcome, fields in ((None, {}), (["no effect: ü"], {b"changeover-warning": b"no effect: %C3%BC"})):
        one = call(name, model_name="m")
        asked(what, one).told(outcome)
        assert (one.status, one.answer, one.fields) == (Status.OK, b"", fields)
    one = call(name, model_name="m")
    asked(what, one).told(Conflict("a rollout is under way", reason="rollout_under_way"))
    assert (one.status, one.reason) == (Status.FAILED_PRECONDITION, b"rollout_under_way")


def test_a_malformed_call_is_refused() -> None:
    """Before the repository is asked."""
    repository = Asked()
    with pytest.raises(InvalidRequest):
        RepositoryCalls(repository).handlers[LOAD](  # type: ignore[arg-type]
            FakeCall(memoryview(b"\xff"), INFERENCE + "RepositoryModelLoad")  # type: ignore[arg-type]
        )
    assert repository.calls == []


def test_loading_takes_the_scope_of_operators() -> None:
    """As over HTTP; the index is anybody's who may infer."""
    scopes = {name: METHODS[INFERENCE + name].scope for name in ("RepositoryIndex", "RepositoryModelLoad")}
    assert scopes == {"RepositoryIndex": Scope.INFER, "RepositoryModelLoad": Scope.ADMIN}
    assert METHODS[INFERENCE + "RepositoryModelUnload"].scope is Scope.ADMIN
