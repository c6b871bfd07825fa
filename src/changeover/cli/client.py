"""A server's ports from the command line: the standard library's HTTP, and sentences that name the options."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit

from changeover.cli.credentials import Address
from changeover.cli.exits import Usage
from changeover.client.ask import Answer, Ask, Document, InvalidClient, Unreachable, push
from changeover.client.credentials import Credentials, checked
from changeover.client.verbs import ControlVerbs


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
        self._credentials = url.credentials if isinstance(url, Address) else Credentials()
        try:
            self.url = checked(url, option)
            self._parts = urlsplit(self.url)
            self._tls = self._credentials.tls() if self._parts.scheme == "https" else None
        except InvalidClient as error:
            raise Usage(error.message) from None
        self._timeout = timeout
        self._option = option

    def call(self, ask: Ask) -> Document:
        """Send one request and return the document of its answer."""
        return self._answered(ask).document()

    def download(self, ask: Ask) -> Answer:
        """Send one request and return its good answer, whatever form that has."""
        answer = self._answered(ask)
        answer.check()
        return answer

    def lines(self, ask: Ask) -> Iterator[bytes]:
        """Send one request and yield the lines of its answer as they come."""
        connection = self._connection()
        try:
            connection.request(ask.method, self._parts.path + ask.path, None, self._credentials.headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                Answer(answer.status, {}, answer.read()).check()
            while line := answer.readline():
                yield line.rstrip(b"\n")
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"no answer from a server at {self.url} ({_why(error)}); start one with `changeover serve REPOSITORY` "
            f"or name another with {self._option} URL",
            reason="control_unreachable",
        )

    def _answered(self, ask: Ask) -> Answer:
        try:
            return self._exchange(ask)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _exchange(self, ask: Ask) -> Answer:
        connection = self._connection()
        headers = self._credentials.headers | ask.fields(self._timeout)
        try:
            try:
                connection.request(ask.method, self._parts.path + ask.path, ask.body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent: the answer says why
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)


class ControlClient(JsonClient, ControlVerbs[Document, list[Document]]):
    """The control API, one method an endpoint."""

    def push(self, name: str, body: IO[bytes], content_type: str, version: str | None = None) -> Document:
        """Store a new version: an ONNX file (application/octet-stream) or a tar stream (application/x-tar)."""
        return self.call(push(name, body, content_type, version))

    def _one(self, ask: Ask) -> Document:
        return self.call(ask)

    def _many(self, ask: Ask, member: str) -> list[Document]:
        found: list[Document] = self.call(ask)[member]
        return found


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
