"""The HTTP/2 door behind TLS: the same promises, through another transport."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Setting
from changeover.tls import TlsFiles, server_context
from tests.certificates import Authority
from tests.gateway.door.http2.served import ECHO, HOLD, LARGE, serving
from tests.needed import needed

from grpc_door_wire import call  # isort: skip

_ASK = """
import pathlib, sys, grpc
trust = grpc.ssl_channel_credentials(pathlib.Path(sys.argv[2]).read_bytes())
with grpc.secure_channel(f"127.0.0.1:{sys.argv[1]}", trust) as channel:
    print(channel.unary_unary("/echo.Echo/Echo")(b"asked", timeout=20, wait_for_ready=False).decode())
"""


def test_calls_behind_tls(tmp_path: Path) -> None:
    """Small and large answers, a verified certificate, and a graceful end with a call in progress."""
    authority = Authority(tmp_path)
    pair, own = authority.issue("server"), authority.issue("client")
    context = server_context(TlsFiles(str(pair.cert), str(pair.key), str(authority.cert)), demand=False, alpn="h2")
    asked = authority.client_context(own)
    asked.set_alpn_protocols(["h2"])
    wide = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 24}) + frames.window_update(0, 1 << 24)
    with serving(context) as door2, door2.wire(opening=wide, tls=asked) as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.selected_alpn_protocol() == "h2"
        assert wire.ask(ECHO, b"x") == b"x"
        assert wire.ask("/echo.Echo/Certified", b"") == b"yes"
        assert len(wire.ask(LARGE, b"3000000")) == 3_000_000
        wire.send(call(101, HOLD, b"x"))
        door2.until(lambda: len(door2.app.held) == 1)
        door2.call(door2.server.lame_duck)
        door2.call(lambda: door2.app.held[0].respond((b"answered",)))
        assert wire.wait(101).message == b"answered"
        assert wire.drained(8.0)
        assert len(wire.goaways) == 2


def test_grpcio_behind_tls(tmp_path: Path) -> None:
    """It ends a connection on which the server does not choose HTTP/2."""
    needed("grpc")
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    context = server_context(TlsFiles(str(pair.cert), str(pair.key)), demand=False, alpn="h2")
    with serving(context) as door2:
        command = [sys.executable, "-c", _ASK, str(door2.port), str(authority.cert)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert asked.stdout == "asked\n", asked.stderr[-2000:]


def test_a_last_answer_that_only_the_transport_holds_arrives(tmp_path: Path) -> None:
    """What the transport took and the kernel did not is not counted any more, and is not cut off by the close."""
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    context = server_context(TlsFiles(str(pair.cert), str(pair.key)), demand=False, alpn="h2")
    with serving(context, linger_seconds=0.2) as door2:
        door2.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of its connections
        with door2.wire(tls=authority.client_context(), receive_buffer=4096) as wire:
            wire.reopens = False
            wire.send(call(1, LARGE, b"60000"))
            door2.until(lambda: len(door2.app.seen) == 1)
            gate = door2.server._gate
            (door,) = gate.connections
            door2.call(door.close_if_idle)
            ended = gate.now
            door2.until(lambda: gate.now > ended + 1.5 or not gate.connections)
            assert len(wire.wait(1).message) == 60_000
            assert wire.drained(5.0)
