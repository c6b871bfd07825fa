"""The HTTP/2 door on a listening socket."""

from __future__ import annotations

import socket
import ssl

from changeover.gateway.door.budget import Budget
from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import CallApp
from changeover.gateway.door.http2.connection import Http2Door
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.listener import Listener


class Http2Server(Listener):
    """Serves gRPC's unary calls over HTTP/2, with prior knowledge or behind TLS.

    Args:
        app: called with each whole call.
        sock: see `Listener`, as `shared`.
        limits: the defaults when not given.
        budget: see `Gate`.
        tls: a context of its own, made with `alpn="h2"`: clients of gRPC end a connection on which nobody says so.
    """

    def __init__(
        self,
        app: CallApp,
        sock: socket.socket,
        limits: Limits | None = None,
        *,
        budget: Budget | None = None,
        shared: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        gate = Gate(limits or Limits(), budget)
        super().__init__(gate, lambda: Http2Door(gate, app), sock, shared=shared, tls=tls)
