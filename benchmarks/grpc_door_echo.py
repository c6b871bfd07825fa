"""The echo application of the HTTP/2 door's proof, as a process of its own.

`python benchmarks/grpc_door_echo.py FD door|aio|zttp|h2 [--shared]` serves the inherited listening socket FD until
SIGTERM: behind the project's door, or behind one of the others it was measured against. `/echo.Echo/Echo` gives the
message back, `/echo.Echo/Late` after as many milliseconds as it says (never for 0), `/echo.Echo/Large` as
many bytes as it says, `/echo.Echo/Talk` and `/echo.Echo/LargeTalk` do the same for each of many messages,
`/echo.Echo/Counts` tells about the process, and tritonclient's `ModelInfer` is answered with the request's first
tensor.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import resource
import socket

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Head, Status
from changeover.gateway.door.http2.server import Http2Server
from changeover.gateway.door.limits import Limits
from door_lifetime import serve


class Echo:
    """The application."""

    server: Http2Server

    def admit(self, head: Head, certified: bool) -> None:
        """Every call passes."""

    def __call__(self, call: Call) -> None:
        """Answer by method."""
        method = call.path.rpartition("/")[2]
        if method in ("Echo", "ModelInfer", "Talk"):
            call.respond((call.body,))
        elif method == "Late":
            wait = int(bytes(call.body))
            if wait:
                timer = asyncio.get_running_loop().call_later(wait / 1000, call.respond, (call.body,))
                call.abandoned = timer.cancel
        elif method in ("Large", "LargeTalk"):
            call.respond((memoryview(bytearray(int(bytes(call.body)))),))
        elif method == "Counts":
            server = self.server
            told = {**dataclasses.asdict(server.counts), "in_flight": server.in_flight, "budget": server.budget_used}
            told |= {"pid": os.getpid(), "cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2])}
            call.respond((json.dumps(told).encode(),))
        else:
            call.fail(Status.UNIMPLEMENTED, f"no such method: {call.path}")


def behind_the_door(sock: socket.socket, limits: Limits, shared: bool) -> None:
    """Serve as a gateway does: lame duck on SIGTERM, nothing lost."""
    app = Echo()
    talks = frozenset(("/echo.Echo/Talk", "/echo.Echo/LargeTalk"))
    app.server = Http2Server(app, sock, Gate(limits, talks=talks), shared=shared)
    serve(app.server, shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("kind")
    parser.add_argument("--shared", action="store_true")
    options = parser.parse_args()
    if options.kind == "door":
        behind_the_door(socket.socket(fileno=options.fd), Limits(), options.shared)
        return
    import grpc_door_others

    grpc_door_others.serve(options.kind, socket.socket(fileno=options.fd))


if __name__ == "__main__":
    main()
