"""TLS contexts made from the files that the settings name. Standard library only.

A changed certificate, key or client CA counts for connections made from then on, without a restart.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from changeover.errors import InvalidRequest

_LOOK_SECONDS: Final = 1.0
log = logging.getLogger("changeover.tls")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's chain and key, and the CA of the clients' certificates where those are verified."""

    cert: str
    key: str
    client_ca: str | None = None


def server_context(files: TlsFiles, *, demand: bool, alpn: str | None = None) -> ssl.SSLContext:
    """A context for TLS 1.2 and newer.

    Args:
        files: where certificate and key are.
        demand: with a client CA: a connection without a client's certificate is refused, instead of only one with
            a wrong certificate.
        alpn: the protocol that is told to clients that ask for one, such as `h2`: those of gRPC hang up otherwise.

    Raises:
        InvalidRequest: a file is missing, unreadable or no PEM, or the key is another certificate's (reason
            `tls_file`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    for path in (files.cert, files.key, files.client_ca):
        _check_readable(path)
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise _wrong(f"{files.cert} and {files.key} are no certificate and its key: {_words(error)}") from None
    if files.client_ca is not None:
        _verify_clients(context, files.client_ca, demand)
    return context


def context_of(
    cert: str | None, key: str | None, client_ca: str | None, *, demand: bool, alpn: str | None = None
) -> ssl.SSLContext | None:
    """The context that the settings ask for; None without a certificate. It follows changes of its files.

    Raises:
        InvalidRequest: as `server_context`.
    """
    if cert is None or key is None:
        return None
    return LiveContext(TlsFiles(cert, key, client_ca), demand=demand, alpn=alpn).context


class LiveContext:
    """A server's TLS context that follows its files, looked at once a second at most; broken ones change nothing.

    Attributes:
        context: for `ssl=`; each handshake on it takes the files as they are then.

    Raises:
        InvalidRequest: as `server_context`.
    """

    def __init__(self, files: TlsFiles, *, demand: bool, alpn: str | None = None) -> None:
        self._files = files
        self._demand = demand
        self._alpn = alpn
        self._seen = self._state()
        self._look_at = time.monotonic() + _LOOK_SECONDS
        self.context = self._present = server_context(files, demand=demand, alpn=alpn)
        # Called in every handshake, with or without a server name: the one place that both ports pass through.
        self.context.sni_callback = self._on_hello

    def _on_hello(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._refresh()
        if self._present is not self.context:
            connection.context = self._present

    def _refresh(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._present = server_context(self._files, demand=self._demand, alpn=self._alpn)
        except InvalidRequest as error:
            log.error("%s; the last good one is used", error.message)  # noqa: TRY400 - the files are at fault
        else:
            log.info("the certificate was read again from %s", self._files.cert)

    def _state(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._files.cert, self._files.key, self._files.client_ca))


def _verify_clients(context: ssl.SSLContext, client_ca: str, demand: bool) -> None:
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise _wrong(f"{client_ca} holds no CA certificate: {_words(error)}") from None
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    # A resumed session would not be verified again: every connection shows its certificate. TLS 1.2 would resume
    # by the server's own memory of sessions too, which cannot be switched off from here.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


def _check_readable(path: str | None) -> None:
    if path is None:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise _wrong(f"{path} cannot be read ({error.strerror})") from None


def _no_password() -> str:
    """A key that needs a password has nobody to ask."""
    raise ValueError("the key needs a password: give one without")


def _stamp(path: str | None) -> object:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return str(error)


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest(f"TLS: {message}", reason="tls_file")
