"""What is asked of a server, and what its answer says: values only, whatever library carries them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote, urlencode

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Internal,
    InvalidRequest,
    ModelNotReady,
    ModelRejected,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
)

Document = dict[str, Any]
Body = bytes | IO[bytes]

_BY_STATUS: dict[int, type[ChangeoverError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: ModelRejected,
    504: DeadlineExceeded,
}
UPLOADED_WITHIN = 600.0
"""Seconds that a push has at least: the body may be large, and the answer comes when all of it is on the disk."""
_LONGEST = 3600.0  # seconds that a server takes for a timeout
_UNKNOWN = frozenset({"model_not_found", "version_not_found"})
"""Reasons that say the same whatever the status: readiness and statistics of an unknown model are 400, as at Triton."""
_NOT_READY = ("model_not_ready", "worker_crash_loop")


class InvalidClient(InvalidRequest):
    """A client cannot be made of this: an address, a certificate's file, an array."""

    default_reason = "invalid_client"


class Unreachable(Internal):
    """Nobody answers: no connection, so nothing was asked."""

    default_reason = "server_unreachable"


class ConnectionLost(Unreachable):
    """The connection broke before the answer: whether the server did what was asked is not known."""

    default_reason = "connection_lost"


class Untrusted(Unreachable):
    """TLS failed: a certificate that is not trusted, or no TLS at the other side."""

    default_reason = "tls_failed"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        path: with its query, percent-encoded.
        body: bytes, or a file that is sent from its beginning; None for none.
        headers: beside those of the credentials.
        repeatable: asking twice does no harm.
        timed: the server is told how long the caller waits.
    """

    method: str
    path: str
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    timed: bool = False

    def fields(self, left: float) -> dict[str, str]:
        """The header fields of a try that has `left` seconds, with the length of a body; a file is rewound."""
        fields = dict(self.headers)
        if self.body is not None:
            fields["content-length"] = str(len(self.body) if isinstance(self.body, bytes) else length_of(self.body))
        if self.timed and left < _LONGEST:
            fields["changeover-timeout"] = f"{left:.6f}"
        return fields


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with any status; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Document:
        """The JSON object of a good answer.

        Raises:
            ChangeoverError: what the server said, as one of the classes of `errors.py` with its `status`.
        """
        self.check()
        found = self._json()
        if found is None:
            raise Internal(f"the answer ({self.status}) is no JSON document; is this a port of a changeover server?")
        return found

    def ready(self) -> bool:
        """What an answer about readiness says, whichever status it has.

        Raises:
            ChangeoverError: it says something else.
        """
        found = self._json() or {}
        if isinstance(found.get("ready"), bool):
            return bool(found["ready"])
        self.check()
        return False

    def check(self) -> None:
        """Raise the error that the answer tells; return for a good one."""
        if self.status >= 300:
            raise self.error()

    def _json(self) -> Document | None:
        try:
            found = json.loads(self.body) if self.body else {}
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def error(self) -> ChangeoverError:
        """The error that the answer tells, with its `status`."""
        told = self._json()
        if told is None:
            message = f"the answer ({self.status}) is no JSON document; is this a port of a changeover server?"
            error: ChangeoverError = Internal(message)
        else:
            reason, message = told.get("reason"), str(told.get("error", f"the server answered {self.status}"))
            error = self._kind(reason)(message, reason=reason)
        if isinstance(error, Overloaded | ModelNotReady):
            error.retry_after = self.retry_after or error.retry_after
        error.status = self.status
        return error

    def _kind(self, reason: object) -> type[ChangeoverError]:
        if reason in _UNKNOWN:
            return NotFound
        if self.status == 503:
            if reason in _NOT_READY:
                return ModelNotReady
            return Internal if self.retry_after is None else Overloaded
        return _BY_STATUS.get(self.status, InvalidRequest if self.status < 500 else Internal)

    @property
    def retry_after(self) -> int | None:
        """Seconds after which the server would rather be asked again, if it said so."""
        text = self.headers.get("retry-after", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def get(path: str) -> Ask:
    """Ask for a document."""
    return Ask("GET", path, repeatable=True)


def post(path: str, body: Mapping[str, object] | None = None) -> Ask:
    """Ask for something to be done, which is never asked twice."""
    if body is None:
        return Ask("POST", path)
    return Ask("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})


def push(name: str, body: Body, content_type: str, version: str | None = None) -> Ask:
    """Ask for a new version to be stored."""
    query = f"?{urlencode({'version': version})}" if version else ""
    return Ask("POST", control_path("models", name, "versions") + query, body, {"content-type": content_type})


def one_rollout(rollout: str) -> Ask:
    """Ask for one rollout."""
    return get(control_path("rollouts", rollout))


def control_path(*parts: str) -> str:
    """A path of the control port."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def model_path(model: str, version: str | None, *parts: str) -> str:
    """A path of the inference port below a model, or one of its versions."""
    of = ["versions", version] if version is not None else []
    return "/v2/models/" + "/".join(quote(part, safe="") for part in (model, *of, *parts))


def length_of(stream: IO[bytes]) -> int:
    """Bytes of a file, which is rewound."""
    length = stream.seek(0, 2)
    stream.seek(0)
    return length
