"""The control API from the caller's side: JSON over HTTP/1.1, errors as the classes of `errors.py`."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from changeover.cli.credentials import Address, Credentials
from changeover.cli.exits import Usage
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
    TooLarge,
    Unauthenticated,
)

Document = dict[str, Any]

_BY_STATUS: dict[int, type[ChangeoverError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: ModelRejected,
    503: ModelNotReady,
    504: DeadlineExceeded,
}


class Unreachable(Internal):
    """Nobody answers at the control port."""

    default_reason = "control_unreachable"


class JsonClient:
    """One server's port that speaks JSON. Every call is one request over one connection.

    Args:
        url: `http://host:port` or `https://host:port`; an `Address` brings token and certificates along.
        timeout: seconds of silence after which a call fails.
        option: of the command line that names the server, for messages.

    Every call raises:
        Unreachable: nobody answers there, or the connection broke.
        Unauthenticated, Forbidden, NotFound, Conflict, InvalidRequest, ModelRejected and so on: what the server said.
    """

    def __init__(self, url: str, timeout: float = 10.0, option: str = "--control") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Usage(f"{option}: {url!r} is no address such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._parts = parts
        self._timeout = timeout
        self._option = option
        self._credentials = url.credentials if isinstance(url, Address) else Credentials()
        self._tls = self._credentials.tls() if parts.scheme == "https" else None

    def call(self, method: str, path: str, body: IO[bytes] | None = None, content_type: str | None = None) -> Document:
        """Send one request and return the document of its answer."""
        try:
            status, text = self._exchange(method, path, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"no answer from a server at {self.url} ({_why(error)}); start one with `changeover serve REPOSITORY` "
                f"or name another with {self._option} URL"
            ) from None
        return _document(status, text)

    def _exchange(self, method: str, path: str, body: IO[bytes] | None, content_type: str | None) -> tuple[int, bytes]:
        connection = self._connection()
        headers = self._credentials.headers | ({"content-type": content_type} if content_type else {})
        if body is not None:
            headers["content-length"] = str(_length(body))
        try:
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent: the answer says why
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)


class ControlClient(JsonClient):
    """The control API, one method an endpoint."""

    def models(self) -> list[Document]:
        """Return all models."""
        found: list[Document] = self.call("GET", "/v1/models")["models"]
        return found

    def model(self, name: str) -> Document:
        """Return one model with its versions."""
        return self.call("GET", _path("models", name))

    def push(self, name: str, body: IO[bytes], content_type: str, version: str | None = None) -> Document:
        """Store a new version: an ONNX file (application/octet-stream) or a tar stream (application/x-tar)."""
        query = f"?{urlencode({'version': version})}" if version else ""
        return self.call("POST", _path("models", name, "versions") + query, body, content_type)

    def rollout(self, name: str) -> Document:
        """Return the model's present or latest rollout."""
        return self.call("GET", _path("models", name, "rollout"))

    def rollouts(self, name: str) -> list[Document]:
        """Return the model's rollouts, newest first."""
        found = self.call("GET", _path("models", name, "rollouts"))["rollouts"]
        return sorted(found, key=lambda rollout: str(rollout["started"]), reverse=True)

    def rollout_by_id(self, rollout: str) -> Document:
        """Return one rollout."""
        return self.call("GET", _path("rollouts", rollout))

    def certificate(self, rollout: str) -> Document:
        """Return the certificate of an ended rollout."""
        return self.call("GET", _path("rollouts", rollout, "certificate"))

    def start(self, name: str, version: str, plan: object = None) -> Document:
        """Start a rollout to a version that the server knows; `plan` counts over the version's own."""
        return self._post(_path("models", name, "rollout"), {"version": version, "plan": plan or {}})

    def steer(self, name: str, verb: str, body: Document | None = None) -> Document:
        """Ask something of the model's rollout (`pause`, `resume`, `promote`, `abort`, `undo`, `weight`)."""
        return self._post(_path("models", name, "rollout", verb), body)

    def undo(self, name: str) -> Document:
        """Give all traffic back to the previous version and return the rollout."""
        return self.steer(name, "undo")

    def explanation(self, rollout: str) -> Document:
        """Return why a rollout is where it is, in sentences."""
        return self.call("GET", _path("rollouts", rollout, "explain"))

    def _post(self, path: str, body: Document | None) -> Document:
        if body is None:
            return self.call("POST", path)
        return self.call("POST", path, io.BytesIO(json.dumps(body).encode()), "application/json")


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _length(stream: IO[bytes]) -> int:
    length = stream.seek(0, 2)
    stream.seek(0)
    return length


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; name its CA with --cacert"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it ended the connection; a server with TLS has an https:// address"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _document(status: int, text: bytes) -> Document:
    """Return the answer's document, or raise the error it describes."""
    try:
        document = json.loads(text) if text else {}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Internal(f"the answer ({status}) is no JSON document; is this the control port of a changeover server?")
    if status < 400:
        return document
    kind = _BY_STATUS.get(status, Internal)
    raise kind(str(document.get("error", f"the server answered {status}")), reason=document.get("reason"))
