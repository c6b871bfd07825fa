"""One exchange with a small HTTP server."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from changeover.testing.talk import exchange


class Echo(BaseHTTPRequestHandler):
    """Sends back what it got, as JSON."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(418)
        self.send_header("X-Asked", self.headers["x-asks"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_status_headers_and_body() -> None:
    """The names of the head's fields are in lower case, the body is read whole."""
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        reply = exchange(server.server_port, "POST", "/", b'{"a": [1]}', {"x-asks": "yes"})
        thread.join()
    assert (reply.status, reply.headers["x-asked"], reply.json()) == (418, "yes", {"a": [1]})
