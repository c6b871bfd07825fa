"""The inference port's own table, described: `/openapi.json` and `/docs`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from changeover import __version__
from changeover.access import Scope
from changeover.gateway import bodies
from changeover.openapi.document import document as written
from changeover.openapi.operation import BINARY, OTHERS, Content, Errors, Operation, Parameter, json_of, together


class Asked(NamedTuple):
    """A path of the port's table with a method that it takes, the row's word, and the scope that this takes."""

    path: str
    method: str
    what: str
    scope: Scope


_ABOUT: Final = """Inference by the Open Inference Protocol v2, as Triton's and KServe's clients speak it.

Every error is a `Failure`. On any path beside these there is 404 `path_not_found`, and 405 `method_not_allowed` for \
another method.

`HEAD` is answered wherever `GET` is."""

DOOR: Final[Errors] = {
    400: (
        "malformed_request", "request_target", "host_header", "content_length", "transfer_coding", "chunked_body",
        "chunk_extensions",
    ),
    408: ("timeout",),
    413: ("too_large",),
    417: ("expectation",),
    431: ("header_too_large",),
    500: ("internal",),
    501: ("method_not_supported", "transfer_coding"),
    503: ("overloaded",),
    505: ("http_version",),
}  # fmt: skip
"""Of every request: what the door refuses before anybody looks at it."""
_LARGE: Final = ("infer", "repository_load")
_FOREIGN: Final[Errors] = {403: ("foreign_host", "foreign_origin")}
_BODYLESS: Final[Errors] = {413: ("unexpected_body",)}
ACCESS: Final[Errors] = {401: ("unauthenticated",), 403: ("forbidden",)}
MODEL: Final[Errors] = {
    404: ("path_not_found", "model_not_found", "version_not_found", "model_unloaded"),
    503: ("model_not_ready",),
}
"""Of a path with a name in it; one that is empty, or has a slash in it, makes another path."""
MISTAKEN: Final[Errors] = {400: MODEL[404][1:], 404: MODEL[404][:1], 503: MODEL[503]}
"""Of a path that tells of nobody as Triton does, by 400."""
DECODING: Final[Errors] = {
    400: (
        "invalid_request", "malformed_json", "json_too_deep", "header_length_mismatch", "binary_size_mismatch",
        "missing_field", "wrong_type", "unknown_datatype", "invalid_shape", "duplicate_input", "duplicate_output",
        "conflicting_data", "shape_data_mismatch", "value_out_of_range", "malformed_bytes", "bytes_not_utf8",
        "shared_memory_unsupported",
    ),
    413: ("json_too_large", "too_many_tensors", "too_many_parameters", "too_many_elements"),
}  # fmt: skip
INFER: Final = together(
    MODEL, DECODING,
    {
        400: (
            "unknown_input", "missing_input", "datatype_mismatch", "shape_mismatch", "rows_mismatch", "invalid_timeout",
            "raw_not_possible", "shared_memory_key", "shared_memory_bounds", "not_classifiable", "unknown_output",
            "unknown_content_encoding", "malformed_content_encoding", "sequence_id_missing", "sequence_id_invalid",
            "sequence_flag_invalid", "sequence_rows", "sequence_unknown", "sequence_ended", "sequence_expired",
            "batch_too_large",
        ),
        404: ("shared_memory_unknown",),
        500: (
            "run_failed", "model_run_failed", "injected_fault", "out_of_memory", "output_undeclared",
            "output_too_large", "malformed_output", "worker_crashed", "worker_lost", "channel_malformed",
            "output_not_finite", "sequence_lost", "state_mismatch", "state_too_large",
            "state_malformed",
        ),
        503: ("queue_full", "queue_delay", "no_memory", "worker_crash_loop", "sequences_full", "sequence_moving"),
        504: ("deadline_exceeded",),
    },
)  # fmt: skip

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_TEXT: Final = {"type": "string"}
_BYTES: Final = {"type": "string", "format": "binary"}
_LENGTH: Final = Parameter(
    "Inference-Header-Content-Length", "header",
    "Of a binary request: bytes of the JSON at the body's beginning. 0: all of it is the one input's bytes.",
    {"type": "integer", "minimum": 0},
)  # fmt: skip
_HOW: Final = (
    _LENGTH,
    Parameter("changeover-timeout", "header", "Seconds until the answer must be there: `0.5`, `500ms`.", _TEXT),
    Parameter("changeover-key", "header", "The same key, the same version while the weights stay.", _TEXT),
    Parameter("changeover-version", "header", "A version, `active` or `candidate`; a version in the path wins.", _TEXT),
)


@dataclass(frozen=True, slots=True)
class About:
    """What is told of a row of the table, by the word that names it.

    Attributes:
        gives: bodies of the answers that are no errors, by status.
        errors: beside those of the door and of access.
        parameters: beside those in the path.
    """

    summary: str
    gives: Mapping[int, Content]
    errors: Errors = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    takes: Content | None = None
    headers: Mapping[str, str] | None = None


_INDEXED: Final = dict.fromkeys(("name", "version", "state", "reason"), _TEXT)
_AWAY: Final = ("controller_away", "unavailable", "stopping")
REPOSITORY: Final[Errors] = {
    400: ("invalid_name",),
    404: ("path_not_found",),
    409: (OTHERS,),
    500: (OTHERS,),
    503: ("not_explicit", *_AWAY, OTHERS),
    504: ("deadline_exceeded",),
}
"""Of a load or unload; what keeps one from being done may be whatever its rollout meets."""
_SHARED: Final[Errors] = {500: ("board_damaged", "board_full"), 503: ("board_busy",)}
"""Of whatever changes what all gateways share."""
SETTINGS: Final[Errors] = {
    400: ("malformed_json", "wrong_type", "setting_unsupported"),
    413: ("json_too_large",),
    **_SHARED,
}
_BAD_REGION: Final = ("shared_memory_name", "shared_memory_key", "shared_memory_bounds")
_NO_REGION: Final[Errors] = {404: ("path_not_found", "shared_memory_unknown")}
REGION: Final = together({400: ("shared_memory_unsupported",)}, _NO_REGION)
_REGIONS: Final = json_of({"type": "array", "items": {"type": "object"}})
_READINESS: Final = {status: json_of(bodies.ModelReady) for status in (200, 503)}
"""503: its worker is being replaced."""
_GENERATION: Final = About(
    "Refused: no model here generates.", {}, together(MODEL, {400: ("no_generation",)}), takes=json_of()
)
ABOUT: Final[dict[str, About]] = {
    "server": About("What the server is.", {200: json_of(bodies.ServerMetadata)}),
    "live": About("Whether the gateway answers.", {200: json_of(bodies.Live)}),
    "ready": About("Whether the first load is over.", {200: json_of(bodies.Ready), 503: json_of(bodies.Ready)}),
    "models": About("The models that are served.", {200: json_of(bodies.ModelNames)}),
    "model": About("Inputs and outputs, and the versions that serve.", {200: json_of(bodies.ModelMetadata)}, MODEL),
    "model_ready": About("Whether it has a worker that can answer.", _READINESS, MISTAKEN),
    "statistics": About(
        "Counts and nanoseconds of each version, in Triton's terms.", {200: json_of(bodies.Statistics)}, MISTAKEN
    ),
    "all_statistics": About("The statistics of all models.", {200: json_of(bodies.Statistics)}),
    "config": About("The configuration in force, as Triton's `ModelConfig`.", {200: json_of()}, MODEL),
    "trace": About("The trace settings; nothing is traced.", {200: json_of()}, MISTAKEN),
    "set_trace": About(
        "Change them: what asks for tracing is refused.",
        {200: json_of()},
        together(MISTAKEN, SETTINGS),
        takes=json_of(),
    ),
    "logging": About("The log settings in force.", {200: json_of(bodies.LogSettings)}),
    "set_logging": About(
        "Change them, for the log of all gateways; what is left out stays.",
        {200: json_of(bodies.LogSettings)},
        SETTINGS,
        takes=json_of(bodies.LogChanges),
    ),
    "region_status": About("The regions of shared memory that are registered.", {200: _REGIONS}, REGION),
    "region_register": About(
        "Register a region of shared memory, for inputs and outputs.",
        {200: {}},
        together(
            REGION,
            {400: ("malformed_json", "wrong_type", *_BAD_REGION), 409: ("shared_memory_name",)},
            {413: ("json_too_large",)},
            _SHARED,
        ),
        takes=json_of(bodies.RegionToRegister),
    ),
    "region_unregister": About(
        "Forget it; one that is not registered is no error.", {200: {}}, together(REGION, _SHARED)
    ),
    "cuda_status": About("Memory of a GPU cannot be shared: there is none.", {200: _REGIONS}, _NO_REGION),
    "cuda_register": About(
        "Refused: memory of a GPU cannot be shared.", {}, {400: ("cuda_shared_memory_unsupported",)}, takes=json_of()
    ),
    "cuda_unregister": About("Nothing is registered, so nothing is to be done.", {200: {}}),
    "repository_index": About(
        "The models and versions that are known, and their states.",
        {200: json_of({"type": "array", "items": {"type": "object", "properties": _INDEXED, "required": ["name"]}})},
        {400: ("malformed_json", "invalid_request"), 503: _AWAY, 504: ("deadline_exceeded",)},
        takes=json_of(bodies.IndexQuestion),
    ),
    "repository_load": About(
        "Have the newest version of a model serve; the answer comes when it does.",
        {200: json_of()},
        together(
            REPOSITORY,
            {
                400: ("invalid_parameter", "invalid_config", "model_rejected", OTHERS),
                404: ("model_not_found", "version_not_found"),
            },
            {409: ("not_settled", "rollout_paused", OTHERS)},
        ),
        takes=json_of(bodies.LoadQuestion),
    ),
    "repository_unload": About("Have no version of a model serve any more.", {200: {}}, REPOSITORY, takes=json_of()),
    "infer": About(
        "Run the model.",
        {200: {**json_of(bodies.InferenceAnswer), BINARY: {**_BYTES, "description": "JSON, then the outputs' bytes."}}},
        INFER,
        _HOW,
        {
            **json_of(bodies.InferenceRequest),
            BINARY: {**_BYTES, "description": "JSON, then the inputs' bytes; the header tells the JSON's length."},
        },
        {
            "changeover-epoch": "Number of the routing table that chose the version.",
            "Inference-Header-Content-Length": "Of a binary answer: bytes of its JSON.",
        },
    ),
    "generate": _GENERATION,
    "generate_stream": _GENERATION,
    "description": About("This description.", {200: json_of()}),
    "docs": About("This description, as a page for people.", {200: {"text/html": _TEXT}}),
}
"""By `Endpoint.what`. A row of the table without one fails the tests."""


def document(asked: Iterable[Asked]) -> dict[str, Any]:
    """The description of the inference port of which this may be asked."""
    names: dict[str, Asked] = {}
    for one in asked:
        what = about_of(one)
        names[what if what not in names else f"{what}_of_{_PLACEHOLDER.findall(one.path)[-1]}"] = one
    return written("Changeover inference API", _ABOUT, __version__, [_operation(*row) for row in names.items()])


def about_of(one: Asked) -> str:
    """The word in `ABOUT`: the row's own; for `POST` beside a `GET` with `set_` before it."""
    return f"set_{one.what}" if one.method == "POST" and f"set_{one.what}" in ABOUT else one.what


def _operation(name: str, one: Asked) -> Operation:
    about, is_open = ABOUT[about_of(one)], one.scope is Scope.OPEN
    of_version = "{version}" in one.path
    return Operation(
        one.method,
        one.path,
        name,
        f"{about.summary[:-1]}, of one version." if of_version else about.summary,
        None if is_open else one.scope.value,
        about.gives,
        together(
            DOOR,
            {} if one.what in _LARGE else _BODYLESS,
            _FOREIGN if _commands(one) else {},
            {} if is_open else ACCESS,
            about.errors,
        ),
        (*[_IN_PATH[name] for name in _PLACEHOLDER.findall(one.path)], *about.parameters),
        about.takes,
        about.headers,
    )


def _commands(one: Asked) -> bool:
    """Whether pages of other sites are kept from it, where there is no guard."""
    return one.method == "POST" and one.what != "infer"


_IN_PATH: Final = {
    "model": Parameter("model", "path", "Name of the model.", _TEXT),
    "region": Parameter("region", "path", "Name of the region.", _TEXT),
    "version": Parameter("version", "path", "A version that serves; to `infer` also `active`, `candidate`.", _TEXT),
}
