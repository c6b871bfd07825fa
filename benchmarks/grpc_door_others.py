"""The servers the HTTP/2 door was measured against, with the same echo: `grpc.aio`, zttp and h2 on own protocols.

They do what the comparison needs and no more: `Echo`, `Late` and `Large`, and SIGTERM as each of them offers it. zttp
and h2 are not among the project's dependencies; `grpc_door_candidates.py` says so when they are missing.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_TRAILERS = [(b"grpc-status", b"0")]


def _reply(method: str, message: bytes) -> bytes:
    return bytes(int(message)) if method == "Large" else message


def _late(method: str, message: bytes) -> float:
    """Seconds to wait; a call that wants to wait for ever waits an hour."""
    return (int(message) / 1000 or 3600.0) if method == "Late" else 0.0


async def grpc_aio(sock: socket.socket) -> None:
    """The stock server, which binds by itself: the port is shared by SO_REUSEPORT after the socket was closed."""
    from grpc import aio, unary_unary_rpc_method_handler

    class Handler:
        def service(self, details: Any) -> Any:
            method = details.method.rpartition("/")[2]

            async def behave(request: bytes, context: Any) -> bytes:
                del context
                if wait := _late(method, request):
                    await asyncio.sleep(wait)
                return _reply(method, request)

            return unary_unary_rpc_method_handler(behave)

    port = sock.getsockname()[1]
    sock.close()
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stopped = _stopped()
    await stopped.wait()
    await server.stop(10.0)


class _Own(asyncio.Protocol):
    """What the two have in common: whole bodies by stream, answered at once or later."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.calls: dict[int, tuple[str, list[bytes]]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def send(self, stream: int, message: bytes) -> None:
        raise NotImplementedError

    def complete(self, stream: int) -> None:
        path, parts = self.calls.pop(stream)
        method, message = path.rpartition("/")[2], b"".join(parts)[5:]
        if wait := _late(method, message):
            asyncio.get_running_loop().call_later(wait, self.send, stream, message)
        else:
            self.send(stream, _reply(method, message))


class ZttpDoor(_Own):
    """zttp's `H2Connection`: its own flow control, no limits of ours."""

    def begin(self) -> None:
        import zttp

        self.zttp = zttp
        self.connection = zttp.Connection(zttp.SERVER, zttp.HTTP2)
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.connection.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        zttp = self.zttp
        try:
            self.connection.receive_data(data)
            while (event := self.connection.next_event()) is not zttp.NEED_DATA:
                if event is zttp.CONNECTION_CLOSED:
                    self.transport.close()
                    return
                self.event(event)
        except zttp.RemoteProtocolError:
            self.flush()
            self.transport.close()
            return
        self.flush()

    def event(self, event: Any) -> None:
        zttp = self.zttp
        if type(event) is zttp.Request:
            self.calls[event.stream_id] = (event.path.decode(), [])
        elif type(event) is zttp.Data and event.stream_id in self.calls:
            self.calls[event.stream_id][1].append(event.data)
        elif type(event) is zttp.EndOfMessage and event.stream_id in self.calls:
            self.complete(event.stream_id)
        elif type(event) is zttp.RstStream:
            self.calls.pop(event.stream_id, None)

    def send(self, stream: int, message: bytes) -> None:
        try:
            out = self.connection.stream(stream)
            out.send_response(200, _HEADERS[1:])
            out.send_data(len(message).to_bytes(5, "big") + message)
            out.end_message(_TRAILERS)
        except self.zttp.LocalProtocolError:
            return  # reset, or the connection is done for
        self.flush()


class H2Door(_Own):
    """h2's `H2Connection`; what the windows do not take is kept and sent when they open."""

    def begin(self) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.connection.initiate_connection()
        self.left: dict[int, bytes] = {}
        self.flush()

    def flush(self) -> None:
        data = self.connection.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        from h2 import events, exceptions

        try:
            happened = self.connection.receive_data(data)
        except exceptions.ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in happened:
            if isinstance(event, events.RequestReceived):
                path = next(value for name, value in event.headers if name == b":path")
                self.calls[event.stream_id] = (path.decode(), [])
            elif isinstance(event, events.DataReceived):
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.calls:
                    self.calls[event.stream_id][1].append(event.data)
            elif isinstance(event, events.StreamEnded) and event.stream_id in self.calls:
                self.complete(event.stream_id)
            elif isinstance(event, events.StreamReset):
                self.calls.pop(event.stream_id, None)
                self.left.pop(event.stream_id, None)
            elif isinstance(event, events.WindowUpdated | events.RemoteSettingsChanged):
                for stream in list(self.left):
                    self.go_on(stream)
        self.flush()

    def send(self, stream: int, message: bytes) -> None:
        from h2.exceptions import ProtocolError

        try:
            self.connection.send_headers(stream, _HEADERS)
        except ProtocolError:
            return  # reset
        self.left[stream] = len(message).to_bytes(5, "big") + message
        self.go_on(stream)
        self.flush()

    def go_on(self, stream: int) -> None:
        data = self.left[stream]
        while data:
            size = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
            if size <= 0:
                self.left[stream] = data
                return
            self.connection.send_data(stream, data[:size])
            data = data[size:]
        del self.left[stream]
        self.connection.send_headers(stream, _TRAILERS, end_stream=True)


def _stopped() -> asyncio.Event:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    return stopped


def _protocol(door: Callable[[], asyncio.Protocol]) -> Callable[[socket.socket], Coroutine[Any, Any, None]]:
    async def run(sock: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(door, sock=sock)
        await _stopped().wait()
        server.close()

    return run


KINDS = {"aio": grpc_aio, "zttp": _protocol(ZttpDoor), "h2": _protocol(H2Door)}


def serve(kind: str, sock: socket.socket) -> None:
    """Serve until SIGTERM; grpc.aio on asyncio's own loop, which it is made for."""
    run = asyncio.run if kind == "aio" else uvloop.run
    run(KINDS[kind](sock))
