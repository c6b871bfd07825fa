"""The control port's own table, described: `/openapi.json` and `/docs`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from changeover import __version__
from changeover.access import Scope
from changeover.openapi.document import document as written
from changeover.openapi.operation import (
    BINARY,
    OTHERS,
    Content,
    Errors,
    Operation,
    Parameter,
    Schema,
    json_of,
    together,
)

if TYPE_CHECKING:
    from changeover.controller.endpoint import Endpoint

_ABOUT: Final = """The control plane of one server: models, versions, rollouts. A verb answers when it is done.

Every error is a `Failure`. On any path beside these there is 404 `path_not_found`, and 405 `method_not_allowed` for \
another method; what is no HTTP gets a 400 without a body of ours.

`HEAD` is answered wherever `GET` is."""
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_PATH: Final = {"model": "Name of the model.", "rollout": "Such as `r-000003`.", "file": "Its name."}
_FILE: Final = {"type": "string", "format": "binary"}
_UPLOAD: Final[Content] = {
    BINARY: {**_FILE, "description": "The ONNX file."},
    "application/x-tar": {**_FILE, "description": "`model.onnx` and whatever belongs to it."},
}
_FOREIGN: Final = ("foreign_host", "foreign_origin")
_NUMBER: Final = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_EVENT: Final = {"type": "integer", "minimum": 0}
_QUERY: Final[Mapping[str, tuple[str, Schema]]] = {
    "version": ("Number of the version; one more than the last without it.", _NUMBER),
    "after": ("Number of the last event seen, 0 for all that are kept; only new ones without it.", _EVENT),
    "last": ("Begin with so many of the newest events.", _EVENT),
    "model": ("Only what is about this model.", {"type": "string"}),
    "types": ("Only events of these types, with commas between them.", {"type": "string"}),
}
_HEADERS: Final[Mapping[str, tuple[str, Schema]]] = {"last-event-id": ("As `after`, and before it.", _EVENT)}
METRICS: Final[Content] = {
    "text/plain": {"type": "string"},
    "application/openmetrics-text": {"type": "string"},
    "application/vnd.google.protobuf": _FILE,
}
ARCHIVE: Final[Content] = {"application/zip": _FILE}
PAGE: Final[Content] = {"text/html": {"type": "string"}}
STREAM: Final[Content] = {"text/event-stream": {"type": "string"}}

JOURNAL: Final[Errors] = {503: ("journal_unwritable", "journal_in_use", "journal_defect", "internal")}
"""Of whatever reads or writes the journal."""
MODEL: Final[Errors] = {404: ("model_not_found",)}
ROLLOUT: Final[Errors] = {404: ("rollout_not_found",)}
CERTIFICATE: Final = together(ROLLOUT, {404: ("certificate_not_ready",), 503: ("certificate_unreadable",)}, JOURNAL)
EVENTS: Final[Errors] = {400: ("invalid_event_id", "invalid_request"), 503: ("too_many_listeners",)}
BODY: Final[Errors] = {400: ("malformed_json", "invalid_request"), 413: ("too_large",)}
_FILES: Final = (
    "artifact_no_model", "artifact_not_regular", "artifact_name", "artifact_too_large", "artifact_too_many_files",
    "artifact_changed", "artifact_missing", "artifact_damaged", "source_unreadable",
)  # fmt: skip
SEALING: Final[Errors] = {
    400: ("invalid_version", "invalid_plan", "invalid_config"),
    422: _FILES,
    503: ("artifacts_unwritable",),
}
"""Of whatever makes an artifact of files."""
PUSH: Final = together(
    {400: ("invalid_name", "empty_body", "too_many_models"), 413: ("too_large",)},
    {422: ("tar_unreadable", "tar_member_refused", "model_rejected")},
    SEALING,
)
START: Final = together(
    MODEL, BODY, SEALING,
    {404: ("version_not_found",), 409: ("already_active", "already_under_way", "not_settled")},
)  # fmt: skip
STEERING: Final = together(
    MODEL,
    {409: ("no_rollout", "no_standby", "wrong_phase", "not_proven", "conflict")},
    {503: ("not_done", "record_owed", "gateway_silent", "prepare_failed", "rollout_transition", OTHERS)},
)
"""Of the verbs; what kept one from being done may be whatever the rollout itself met."""


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The description of the control port that has these rows."""
    return written("Changeover control API", _ABOUT, __version__, [_operation(row) for row in endpoints])


def _operation(row: Endpoint) -> Operation:
    is_open = row.scope is Scope.OPEN
    access: Errors = {403: _FOREIGN} if is_open else {401: ("unauthenticated",), 403: ("forbidden", *_FOREIGN)}
    query: Errors = {} if row.method == "GET" else {400: ("unknown_query",)}
    parameters = [Parameter(n, "path", _PATH[n], {"type": "string"}) for n in _PLACEHOLDER.findall(row.path)]
    parameters += [Parameter(n, "query", *_QUERY[n]) for n in row.query]
    parameters += [Parameter(n, "header", *_HEADERS[n]) for n in row.headers]
    takes = _UPLOAD if row.upload else json_of(row.takes) if row.takes is not None else None
    return Operation(
        row.method,
        row.path,
        row.answer.__name__,
        row.summary,
        None if is_open else row.scope.value,
        {row.status: row.content or json_of(row.gives)},
        together(row.errors, query, access),
        tuple(parameters),
        takes,
    )
