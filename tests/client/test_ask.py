"""Requests and answers as values: paths, fields, and the error that an answer tells."""

from __future__ import annotations

import io
import json

import pytest

from changeover.client.ask import Answer, Ask, control_path, get, model_path, post, push
from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    ModelNotReady,
    ModelRejected,
    NotFound,
    Overloaded,
)


def answer(status: int, document: object, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(document).encode())


def test_only_questions_are_repeatable() -> None:
    """A verb is asked once."""
    assert get("/v1/models").repeatable
    assert not post("/v1/models/m/rollout/undo").repeatable
    assert not push("m", b"x", "application/octet-stream").repeatable


def test_names_in_paths_are_quoted() -> None:
    """A name cannot lead elsewhere."""
    assert control_path("models", "a/b c") == "/v1/models/a%2Fb%20c"
    assert model_path("m", None, "infer") == "/v2/models/m/infer"
    assert model_path("m", "4", "infer") == "/v2/models/m/versions/4/infer"
    assert push("m", b"x", "t", "7").path == "/v1/models/m/versions?version=7"


def test_the_fields_of_a_try() -> None:
    """The length of what is sent, a file from its beginning, and the time that is left where the server wants it."""
    file = io.BytesIO(b"12345")
    file.read()
    assert Ask("POST", "/", file).fields(3.0) == {"content-length": "5"}
    assert file.read() == b"12345"
    assert Ask("POST", "/", b"12", timed=True).fields(1.5) == {"content-length": "2", "changeover-timeout": "1.500000"}
    assert Ask("GET", "/", timed=True).fields(1e9) == {}


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "shape_mismatch", InvalidRequest),
        (400, "model_not_found", NotFound),
        (404, "model_not_found", NotFound),
        (405, "method_not_allowed", InvalidRequest),
        (409, "no_standby", Conflict),
        (422, "load_failed", ModelRejected),
        (500, "run_failed", Internal),
        (503, "model_not_ready", ModelNotReady),
        (503, "journal_unwritable", Internal),
        (504, "deadline_exceeded", DeadlineExceeded),
    ],
)
def test_an_error_has_class_status_reason_and_message(status: int, reason: str, kind: type[ChangeoverError]) -> None:
    """As the server said them."""
    with pytest.raises(kind) as caught:
        answer(status, {"error": "a sentence", "reason": reason}).document()
    assert (caught.value.status, caught.value.reason, caught.value.message) == (status, reason, "a sentence")


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (400, False)])
def test_readiness_is_what_the_body_says(status: int, ready: bool) -> None:
    """Whichever status it comes with; an error is an error."""
    assert answer(status, {"ready": ready}).ready() is ready
    with pytest.raises(NotFound):
        answer(404, {"error": "x", "reason": "model_not_found"}).ready()


def test_a_full_queue_says_when_to_come_again() -> None:
    """503 with `Retry-After` is `Overloaded` with these seconds."""
    error = answer(503, {"error": "x", "reason": "queue_full"}, **{"retry-after": "7"}).error()
    assert isinstance(error, Overloaded)
    assert error.retry_after == 7
    assert answer(503, {}, **{"retry-after": "soon"}).retry_after is None


@pytest.mark.parametrize("status", [200, 302, 502])
def test_who_speaks_no_json_is_no_changeover_server(status: int) -> None:
    """A page, a list, or a proxy's sentence."""
    for body in (b"<html>", b"[1]", b"\xff"):
        with pytest.raises(Internal, match="no JSON document"):
            Answer(status, {}, body).document()
