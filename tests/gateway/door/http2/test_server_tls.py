"""The HTTP/2 door behind TLS: the same promises, through another transport."""

from __future__ import annotations

from pathlib import Path

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Setting
from changeover.tls import TlsFiles, server_context
from tests.certificates import Authority
from tests.gateway.door.http2.served import ECHO, HOLD, LARGE, serving

from grpc_door_wire import call  # isort: skip


def test_calls_behind_tls(tmp_path: Path) -> None:
    """Small and large answers, a verified certificate, and a graceful end with a call in progress."""
    authority = Authority(tmp_path)
    pair, own = authority.issue("server"), authority.issue("client")
    context = server_context(TlsFiles(str(pair.cert), str(pair.key), str(authority.cert)), demand=False)
    wide = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 24}) + frames.window_update(0, 1 << 24)
    with serving(context) as door2, door2.wire(opening=wide, tls=authority.client_context(own)) as wire:
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
