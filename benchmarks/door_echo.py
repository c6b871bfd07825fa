"""The echo application of the door's proof, as a process of its own.

`python benchmarks/door_echo.py FD door|uvicorn [--shared] [--header-seconds S]` serves the inherited
listening socket FD until SIGTERM: behind the project's door, or behind stock uvicorn as the control.
`/echo` gives the body back, `/ok` does not look at it, `/large?BYTES` and `/slow?MILLISECONDS` do what they
say, `/pid` and `/counts` tell about the process, `/v2/...` is what tritonclient asks for.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.listener import DoorServer
from changeover.gateway.door.request import HttpRequest
from door_lifetime import serve

_BYTES = b"content-type: application/octet-stream\r\n"
_JSON = b"content-type: application/json\r\n"
Reply = tuple[bytes, Sequence[bytes | memoryview]]


def reply(path: str, query: str, header_length: int, body: memoryview) -> Reply:
    """Head fields and body for a request."""
    if path in ("/echo", "/slow"):
        return _BYTES, (body,)
    if path == "/large":
        return _BYTES, (memoryview(bytearray(int(query))),)
    if path == "/pid":
        return _BYTES, (b"%d" % os.getpid(),)
    if path.endswith("/infer"):
        return infer(header_length, body)
    if path == "/v2":
        return _JSON, (b'{"name": "echo", "version": "1", "extensions": ["binary_tensor_data"]}',)
    return _BYTES, (b"ok",)


def infer(header_length: int, body: memoryview) -> Reply:
    """Give the first tensor back, in Triton's binary form."""
    asked = json.loads(bytes(body[:header_length]))["inputs"][0]
    output = {**asked, "name": "OUTPUT"}
    head = json.dumps({"model_name": "echo", "model_version": "1", "outputs": [output]}).encode()
    fields = _BYTES + b"inference-header-content-length: %d\r\n" % len(head)
    return fields, (head, body[header_length:])


class Echo:
    """The application behind the door."""

    def __init__(self, sock: socket.socket, limits: Limits, shared: bool) -> None:
        self.server = DoorServer(self, sock, Gate(limits), shared=shared)

    def admit(self, request: HttpRequest) -> None:
        """Every body is taken."""

    def __call__(self, request: HttpRequest) -> None:
        if request.path == "/counts":
            request.respond(200, _JSON, (json.dumps(dataclasses.asdict(self.server.counts)).encode(),))
            return
        header_length = int(request.headers.get(b"inference-header-content-length", b"0"))
        head, body = reply(request.path, request.query, header_length, request.body)
        if request.path == "/slow":
            seconds = int(request.query) / 1000
            asyncio.get_running_loop().call_later(seconds, request.respond, 200, head, body)
        else:
            request.respond(200, head, body)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same application for an ASGI server."""
    parts, more = [], scope["path"] not in ("/ok", "/large")
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    headers = dict(scope["headers"])
    header_length = int(headers.get(b"inference-header-content-length", b"0"))
    query = scope["query_string"].decode()
    if scope["path"] == "/slow":
        await asyncio.sleep(int(query) / 1000)
    head, body = reply(scope["path"], query, header_length, memoryview(b"".join(parts)))
    whole = b"".join(body)
    fields = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n") if line]
    fields.append((b"content-length", b"%d" % len(whole)))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": whole})


def behind_uvicorn(sock: socket.socket) -> None:
    """Serve with stock uvicorn on the same loop and parser."""
    import uvicorn  # the control only: the door's process must not carry its weight

    config = uvicorn.Config(
        asgi, loop="uvloop", http="httptools", lifespan="off", log_level="critical", access_log=False
    )
    uvicorn.Server(config).run(sockets=[sock])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fd", type=int)
    parser.add_argument("server", choices=("door", "uvicorn"))
    parser.add_argument("--shared", action="store_true", help="other processes listen on the same socket")
    parser.add_argument("--header-seconds", type=float, default=Limits().header_seconds)
    options = parser.parse_args()
    sock = socket.socket(fileno=options.fd)
    if options.server == "uvicorn":
        behind_uvicorn(sock)
    else:
        limits = Limits(header_seconds=options.header_seconds)
        serve(Echo(sock, limits, options.shared).server, options.shared)


if __name__ == "__main__":
    main()
