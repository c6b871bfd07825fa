"""The HTTP/2 door on a listening socket."""

from __future__ import annotations

from changeover.gateway.door.http2.call import CallApp
from changeover.gateway.door.http2.connection import Http2Door
from changeover.gateway.door.listener import Listener


class Http2Server(Listener[CallApp]):
    """Serves gRPC's unary calls, and streams of them, over HTTP/2, with prior knowledge or behind TLS.

    The application is called with each whole call. `tls` is a context of its own, made with `alpn="h2"`: clients of
    gRPC end a connection on which nobody says so.
    """

    def _new_door(self) -> Http2Door:
        return Http2Door(self._gate, self._app)
