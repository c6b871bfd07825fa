"""Checks of the HTTP/2 door's proof over raw connections; each takes a server and returns its figures.

`requests` counts calls that should be answered, `lost` those that were not, and attacks that were not ended.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Code, Setting
from changeover.gateway.door.http2.hpack import encode
from changeover.gateway.door.http2.message import prefix
from door_bystander import Bystander
from grpc_door_served import GrpcServer, counts
from grpc_door_wire import OPENING, Wire, begin, call, data, head

Figures = dict[str, Any]
ECHO, LARGE, LATE = "/echo.Echo/Echo", "/echo.Echo/Large", "/echo.Echo/Late"
LARGE_TALK = "/echo.Echo/LargeTalk"
MIB = 1 << 20
_WIDE = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW})
_WIDE += frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)


def _bystander(server: GrpcServer) -> Bystander:
    """Its message is empty, like a health check's: such are answered whatever the budget says."""
    return Bystander(Wire(server.port), lambda wire: wire.ask(ECHO, b"") == b"")


def slow_reader(server: GrpcServer) -> Figures:
    """40 clients with windows as wide as they get ask for 5 answers of 8 MiB and read nothing for 4 s; 10 read then."""
    with _bystander(server) as bystander, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Wire(server.port, opening=_WIDE, receive_buffer=65536)) for _ in range(40)]
        for client in clients:
            client.send(b"".join(call(stream, LARGE, b"%d" % (8 * MIB)) for stream in range(1, 11, 2)))
        time.sleep(4.0)
        whole = shed = lost = 0
        for client in clients[:10]:
            client.reopens = False
            for stream in range(1, 11, 2):
                try:
                    answer = client.wait(stream)
                except OSError:
                    lost += 5 - stream // 2
                    break
                shed += answer.status == 14
                whole += answer.status == 0 and len(answer.message) == 8 * MIB
                lost += answer.status not in (0, 14)
                answer.data.clear()
    return bystander.figures(requests=whole + shed + lost, lost=lost, whole=whole, shed=shed)


def closed_windows(server: GrpcServer) -> Figures:
    """40 clients whose windows stay shut ask for 20 answers of 8 MiB; they go on answering pings."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with _bystander(server) as bystander, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Wire(server.port, opening=shut)) for _ in range(40)]
        for client in clients:
            client.send(b"".join(call(stream, LARGE, b"%d" % (8 * MIB)) for stream in range(1, 41, 2)))
        time.sleep(4.0)
    return bystander.figures(clients=40)


def unread_talks(server: GrpcServer) -> Figures:
    """40 clients whose windows stay shut talk in 20 calls each, and every message of 10 asks for 8 MiB."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
    said = (prefix(7) + b"%d" % (8 * MIB)) * 10
    with _bystander(server) as bystander, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Wire(server.port, opening=shut)) for _ in range(40)]
        for client in clients:
            talks = [begin(s, LARGE_TALK) + data(s, said, end=False) for s in range(1, 41, 2)]
            client.send(b"".join(talks))
        time.sleep(4.0)
    return bystander.figures(clients=40)


def unread_body(server: GrpcServer) -> Figures:
    """On one connection, 15 calls begin a message of 4 MiB and stop; others beside them are answered."""
    lost = 0
    with Wire(server.port) as wire:
        for stream in range(1, 31, 2):
            wire.send(begin(stream, ECHO) + data(stream, prefix(4 * MIB) + bytes(60_000), end=False))
        for stream in range(101, 2101, 2):
            wire.send(call(stream, ECHO, b"%d" % stream))
            answer = wire.wait(stream)
            lost += answer.status != 0 or answer.message != b"%d" % stream
        for stream in range(1, 31, 2):
            wire.send(data(stream, bytes(4 * MIB - 60_000)))
            lost += len(wire.wait(stream).message) != 4 * MIB
    return {"requests": 1015, "lost": lost}


def rapid_resets(server: GrpcServer) -> Figures:
    """CVE-2023-44487: 200,000 calls, each cancelled in the same breath, from as many connections as that takes."""
    connections = 0
    left, made = 200_000, 1000
    ended: list[bool] = []
    with _bystander(server) as bystander:
        while left > 0 and connections < 2000:
            connections += 1
            with Wire(server.port) as wire, contextlib.suppress(OSError):
                for first in range(1, 1_000_000, 2 * made):
                    streams = range(first, first + 2 * made, 2)
                    wire.send(b"".join(call(s, LATE, b"500") + frames.reset(s, Code.CANCEL) for s in streams))
                    left -= made
                    if left <= 0 or wire.drained(0.001):
                        break
                ended.append(bool(wire.goaways))
        told = counts(server)
    return bystander.figures(attempts=200_000, connections=connections, in_flight_after=told["in_flight"] - 1)


def _flood(server: GrpcServer, frame: bytes, *, opening: bytes = OPENING, reads: bool = True) -> Figures:
    """The same bytes until the server ends the connection, at most 64 MiB of them."""
    block = frame * max(1, 65536 // len(frame))
    sent, ended = 0, False
    with _bystander(server) as bystander, Wire(server.port, opening=opening, timeout=30.0) as wire:
        try:
            while sent < 64 * MIB and not ended:
                wire.send(block)
                sent += len(block)
                ended = reads and wire.drained(0.0005)
        except OSError:
            ended = True
        ended = ended or wire.drained(5.0)
        codes = [code for _, code in wire.goaways]
    return bystander.figures(lost=int(not ended), sent_kb=sent >> 10, goaway=codes)


def ping_flood(server: GrpcServer) -> Figures:
    """Pings whose answers are read."""
    return _flood(server, frames.frame(frames.PING, 0, 0, bytes(8)))


def unread_ping_flood(server: GrpcServer) -> Figures:
    """Pings whose answers nobody reads (CVE-2019-9512)."""
    return _flood(server, frames.frame(frames.PING, 0, 0, bytes(8)), reads=False)


def settings_flood(server: GrpcServer) -> Figures:
    """SETTINGS (CVE-2019-9515), full ones."""
    return _flood(server, frames.frame(frames.SETTINGS, 0, 0, (b"\0\4" + bytes(4)) * 2700))


def continuation_flood(server: GrpcServer) -> Figures:
    """A header block that never ends (CVE-2024-27316), in frames of one byte."""
    opening = OPENING + frames.frame(frames.HEADERS, 0, 1, b"\x83")
    return _flood(server, frames.frame(frames.CONTINUATION, 0, 1, b"\x86"), opening=opening)


def empty_data_flood(server: GrpcServer) -> Figures:
    """DATA without data (CVE-2019-9518)."""
    return _flood(server, frames.frame(frames.DATA, 0, 1), opening=OPENING + begin(1, ECHO))


def dribble(server: GrpcServer) -> Figures:
    """A large answer asked for byte by byte (CVE-2019-9511)."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0}) + call(1, LARGE, b"%d" % MIB)
    return _flood(server, frames.window_update(1, 1), opening=shut)


def hpack_bomb(server: GrpcServer) -> Figures:
    """A table entry of 4,000 bytes, then references to it: 16 KiB of block are 60 MB of fields."""
    name = bytes((0x7F, 0xA1 - 0x7F + 0x80, 0x1E))  # 4,000 as an integer under seven bits
    entry = b"\x40\x01x" + name + b"v" * ((0x1E << 7) + 0xA1 - 0x7F + 0x7F)
    bomb = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, entry[:16000] + b"\xbe" * 8000)
    return _flood(server, bomb)


def header_bytes(server: GrpcServer) -> Figures:
    """Calls with 64 KiB of metadata: over the limit that the door announces."""
    block = head(ECHO, *((b"x-%d" % number, b"v" * 1000) for number in range(64)))
    parts = [block[at : at + 16000] for at in range(0, len(block), 16000)]
    raw = frames.frame(frames.HEADERS, 0, 1, parts[0])
    raw += b"".join(frames.frame(frames.CONTINUATION, 0, 1, part) for part in parts[1:-1])
    return _flood(server, raw + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, parts[-1]))


def broken_rules() -> Iterator[tuple[str, bytes]]:
    """What no client may send, and each of which must end its connection."""
    ping, frame = frames.frame(frames.PING, 0, 0, bytes(8)), frames.frame
    yield ("no preface", b"GET / HTTP/1.1\r\nHost: door\r\n\r\n")
    yield ("no SETTINGS first", frames.PREFACE + ping)
    yield ("DATA of an idle stream", OPENING + data(1, b"x"))
    yield ("HEADERS on stream 0", OPENING + frame(frames.HEADERS, frames.END_HEADERS, 0, head(ECHO)))
    yield ("HEADERS on an even stream", OPENING + frame(frames.HEADERS, frames.END_HEADERS, 2, head(ECHO)))
    yield ("a frame in a block", OPENING + frame(frames.HEADERS, 0, 1, head(ECHO)) + ping)
    yield ("CONTINUATION of nothing", OPENING + frame(frames.CONTINUATION, frames.END_HEADERS, 1, b"\x83"))
    yield ("a push", OPENING + frame(frames.PUSH_PROMISE, 0, 1, bytes(4)))
    yield ("a short PING", OPENING + frame(frames.PING, 0, 0, b"x"))
    yield ("PING on a stream", OPENING + frame(frames.PING, 0, 1, bytes(8)))
    yield ("a long frame", OPENING + frame(frames.DATA, 0, 1, bytes(16_385)))
    yield ("an initial window over 2^31-1", frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 2**31}))
    yield ("a frame size under 16,384", frames.PREFACE + frames.settings({Setting.MAX_FRAME_SIZE: 1}))
    yield ("a window of nothing", OPENING + frames.window_update(0, 0))
    yield ("a window over 2^31-1", OPENING + frames.window_update(0, frames.MAX_WINDOW))
    yield ("padding over the frame", OPENING + begin(1, ECHO) + frame(frames.DATA, frames.PADDED, 1, b"\x05x"))
    yield ("RST_STREAM of an idle stream", OPENING + frames.reset(1, Code.CANCEL))
    yield ("an index of no table", OPENING + frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\x7f"))
    yield ("a truncated block", OPENING + frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x40\x05ab"))
    large = encode([(b"x", b"v" * 9000)])
    yield ("too many fields", OPENING + frame(frames.HEADERS, frames.END_HEADERS, 1, large + b"\x40\x01y\x01z" * 300))


def rules(server: GrpcServer) -> Figures:
    """Every broken rule ends its connection, and nothing else."""
    kept = []
    with _bystander(server) as bystander:
        total = 0
        for what, raw in broken_rules():
            total += 1
            with contextlib.suppress(OSError), Wire(server.port, opening=raw) as wire:
                wire.reopens = False
                if not wire.drained(2.0):
                    kept.append(what)
    return bystander.figures(requests=total, lost=len(kept), kept=kept)


def tiny_windows(server: GrpcServer) -> Figures:
    """An answer of 2,000 bytes taken seven bytes at a time, and one of 3 MiB through the default windows."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 7})
    lost = over = 0
    body = bytes(range(250)) * 8
    with Wire(server.port, opening=shut) as wire:
        wire.reopens = False
        wire.send(call(1, ECHO, body))
        granted = 7
        while not (answer := wire.answers.get(1)) or not answer.ended:
            wire.read()
            over += len(wire.answers[1].data) > granted if 1 in wire.answers else 0
            wire.send(frames.window_update(1, 7))
            granted += 7
        lost += answer.message != body
    with Wire(server.port) as wire:
        lost += len(wire.ask(LARGE, b"%d" % (3 * MIB))) != 3 * MIB
    return {"requests": 2, "lost": lost + over}


CHECKS: dict[str, Callable[[GrpcServer], Figures]] = {
    one.__name__.replace("_", " "): one
    for one in (
        slow_reader, closed_windows, unread_talks, unread_body, rapid_resets, ping_flood, unread_ping_flood,
        settings_flood, continuation_flood, empty_data_flood, dribble, hpack_bomb, header_bytes, rules, tiny_windows,
    )
}  # fmt: skip
