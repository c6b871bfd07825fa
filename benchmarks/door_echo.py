"""The echo application behind the door, as a process of its own.

`python benchmarks/door_echo.py FD [--single]`: serves the inherited listening socket FD until SIGTERM,
then leaves as a gateway does. `/ok` answers without a look at the body, `/large?BYTES` answers that many
bytes, `/slow?MILLISECONDS` answers late, anything else gives the body back.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket

import uvloop

from changeover.gateway.door.limits import Limits
from changeover.gateway.door.listener import DoorServer
from changeover.gateway.door.request import HttpRequest

_HEAD = b"content-type: application/octet-stream\r\n"


def echo(request: HttpRequest) -> None:
    path = request.path
    if path == "/echo":
        request.respond(200, _HEAD, (request.body,))
    elif path == "/large":
        request.respond(200, _HEAD, (memoryview(bytearray(int(request.query))),))
    elif path == "/slow":
        loop = asyncio.get_running_loop()
        loop.call_later(int(request.query) / 1000, request.respond, 200, _HEAD, (request.body,))
    else:
        request.respond(200, _HEAD, (b"ok",))


async def serve(sock: socket.socket, limits: Limits, last: bool) -> None:
    server = DoorServer(echo, sock, limits)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server.start()
    await stopped.wait()
    await server.stop(10.0, last=last)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fd", type=int)
    parser.add_argument("--shared", action="store_true", help="other processes listen on the same socket")
    options = parser.parse_args()
    uvloop.run(serve(socket.socket(fileno=options.fd), Limits(), not options.shared))


if __name__ == "__main__":
    main()
