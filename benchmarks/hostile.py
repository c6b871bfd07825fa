"""Bad requests by the hundred thousand against a real server: nobody dies, and the gateway does not grow.

    python benchmarks/hostile.py [REQUESTS]

Each attack sends REQUESTS (100,000) twice. What the first ones leave is what a gateway keeps for good (caches, and what
its allocator had to hold at once); a leak would show in the second ones: the attack is met with no process replaced and
a growth under 1 MiB in them. Every request must be refused, or ended, as its attack says. Between
the attacks a good request of each protocol is answered. Figures come as JSON lines.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psutil

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.message import prefix
from changeover.protocol.oip_grpc_messages import encode
from grpc_door_wire import OPENING, begin, call, head
from household import Household
from models import double
from rig import Server, emit, say, verdict

INFER = "/inference.GRPCInferenceService/ModelInfer"
CHUNKS = 1_000_000
REACH = 1 << 20
"""Bytes of growth for each 100,000 requests."""
AT_ONCE = 50
HELD = 200
"""Half-closed connections that are kept open at a time."""
PATIENCE = 20.0
_TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 4]}


class Attack(NamedTuple):
    """One kind of bad request.

    Attributes:
        send: sends so many to a server; raises AssertionError when one is not refused.
        each: how many of the requests that were asked for one of its counts for.
    """

    name: str
    send: Callable[[Server, int], None]
    each: int = 1


def main(requests: int) -> None:
    """One attack after the other against one server."""
    with Server({"double": double()}, arguments=["--gateways", "1"]) as server:
        household = Household(server.process.pid, server.port)
        _good(server)
        for attack in ATTACKS:
            say(f"hostile: {attack.name}")
            count = max(10, requests // attack.each)
            begin_with, members = _gateway(household), household.members()
            attack.send(server, count)
            _good(server)
            before = _gateway(household)
            begun = time.monotonic()
            attack.send(server, count)
            seconds = time.monotonic() - begun
            _good(server)
            after, died = _gateway(household), sorted(set(members.items()) - set(household.members().items()))
            first, grown = ((b.rss - a.rss) * 100_000 / requests for a, b in ((begin_with, before), (before, after)))
            emit("hostile", met=not died and grown < REACH, attack=attack.name, requests=count, died=died,
                 seconds=round(seconds, 1), rss_mb=round(after.rss / 1e6, 1),
                 grown_kb_per_100000=round(grown / 1024, 1), reach_kb=REACH >> 10,
                 first_kb_per_100000=round(first / 1024, 1))  # fmt: skip


class Gateway(NamedTuple):
    """Its memory, once what the attack left was cleared away."""

    pid: int
    rss: int


def _gateway(household: Household) -> Gateway:
    """The smallest of a second's samples: connections that have ended are let go of by and by."""
    (pid,) = household.pids("gateway")
    process, least = psutil.Process(pid), sys.maxsize
    for _ in range(10):
        time.sleep(0.1)
        least = min(least, process.memory_info().rss)
    return Gateway(pid, least)


def _good(server: Server) -> None:
    """A good request of each protocol."""
    body = json.dumps({"inputs": [{**_TENSOR, "data": [1, 2, 3, 4]}]}).encode()
    with _connected(server.port) as sock:
        sock.sendall(_post(body))
        assert _statuses(sock, 1) == ["200"], "a good request was not answered"
    raw = struct.pack("<4f", 1, 2, 3, 4)
    message = encode("inference.ModelInferRequest", {
        "model_name": "double", "inputs": [_TENSOR], "raw_input_contents": [raw]})  # fmt: skip
    with _connected(server.grpc_port) as sock:
        sock.sendall(OPENING + call(1, INFER, message))
        assert struct.pack("<4f", 2, 4, 6, 8) in _until(sock, b"grpc-status"), "a good call was not answered"


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _post(body: bytes, *fields: bytes) -> bytes:
    lines = [b"POST /v2/models/double/infer HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _until(sock: socket.socket, mark: bytes) -> bytes:
    got = b""
    while mark not in got:
        part = sock.recv(65536)
        assert part, f"the connection ended after {got[:100]!r}"
        got += part
    return got


def _statuses(sock: socket.socket, count: int) -> list[str]:
    """Of so many answers."""
    got = b""
    while got.count(b"HTTP/1.1 ") < count:
        part = sock.recv(1 << 16)
        assert part, f"the connection ended after {got[-200:]!r}"
        got += part
    return [piece[:3].decode() for piece in got.split(b"HTTP/1.1 ")[1:]]


def _lies() -> list[bytes]:
    """Binary requests whose sizes are wrong, in every place where there is one."""

    def body(size: object, raw: bytes, length: int | bytes | None = None) -> bytes:
        text = json.dumps({"inputs": [{**_TENSOR, "parameters": {"binary_data_size": size}}]}).encode()
        told = b"%d" % len(text) if length is None else b"%d" % length if isinstance(length, int) else length
        return _post(text + raw, b"Inference-Header-Content-Length: " + told)

    sizes = [body(size, bytes(16)) for size in (15, 17, -16, 1 << 62, "16", None, 1.5)]
    lengths = [body(16, bytes(16), length) for length in (10, 9999, -1, 1 << 40, b"many", b"9" * 30)]
    return [*sizes, *lengths, body(16, bytes(15)), body(16, bytes(17)), body(16, b"")]


def _headers(server: Server, count: int) -> None:
    """On connections that are kept: each is answered 400."""
    lies = _lies()
    with _connected(server.port) as sock:
        for first in range(0, count, AT_ONCE):
            some = range(first, min(count, first + AT_ONCE))
            sock.sendall(b"".join(lies[number % len(lies)] for number in some))
            found = _statuses(sock, len(some))
            assert set(found) == {"400"}, f"answered {sorted(set(found))}"


_CHUNKED = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def _bad_chunks() -> list[bytes]:
    """Chunked bodies that are none, or no inference."""
    many = b"1\r\nx\r\n" * 100
    return [
        _CHUNKED + many + b"0\r\n\r\n", _CHUNKED + many + b"z\r\n", _CHUNKED + many + b"-1\r\n",
        _CHUNKED + many + b"fffffffffffffffff\r\n", _CHUNKED + many + b"2\r\nxxxx\r\n",
        _CHUNKED + b"1;" + b"e" * 20_000,
        _CHUNKED + many + b"7fffffffffffffff\r\n",
    ]  # fmt: skip


def _chunks(server: Server, count: int) -> None:
    """A connection each, for most of them end it: refused with 4xx."""
    bad = _bad_chunks()
    for number in range(count):
        with _connected(server.port) as sock:
            with suppress(ConnectionError):
                sock.sendall(bad[number % len(bad)])
            assert _refusal(sock) in ("400", "413"), bad[number % len(bad)][-40:]


def _refusal(sock: socket.socket) -> str:
    try:
        return _statuses(sock, 1)[0]
    except (AssertionError, OSError):
        return "none"


def _million(server: Server, count: int) -> None:
    """A million chunks of one byte, which are no JSON."""
    flood = b"1\r\n{\r\n" * 10_000
    for _ in range(count):
        with _connected(server.port) as sock:
            sock.sendall(_CHUNKED)
            for _ in range(CHUNKS // 10_000):
                sock.sendall(flood)
            sock.sendall(b"0\r\n\r\n")
            assert _statuses(sock, 1) == ["400"]


def _metadata(server: Server, count: int) -> None:
    """Heads over the limit, of either protocol: 431, and the end of the connection."""
    block = head(INFER, *((b"x-%d" % number, b"v" * 1000) for number in range(20)))
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    over = OPENING + frames.frame(frames.HEADERS, 0, 1, parts[0])
    over += frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, parts[1])
    fields = _post(b"{}", *(b"X-%d: " % number + b"v" * 1000 for number in range(20)))
    for number in range(count):
        if number % 2:
            with _connected(server.port) as sock:
                with suppress(ConnectionError):
                    sock.sendall(fields)
                assert _refusal(sock) == "431"
        else:
            with _connected(server.grpc_port) as sock:
                sock.sendall(over)
                assert _ends(sock), "a call with 20 KB of metadata did not end its connection"


def _ends(sock: socket.socket) -> bool:
    """Whether the server ends a connection."""
    with suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


def _resets(server: Server, count: int) -> None:
    """Calls that are cancelled in the same breath; the server asks for other connections by and by."""
    left, made = count, 200
    while left > 0:
        with _connected(server.grpc_port) as sock, suppress(ConnectionError):
            sock.sendall(OPENING)
            for first in range(1, 20 * made, 2 * made):
                some = range(first, first + 2 * min(made, left), 2)
                sock.sendall(b"".join(_begun(number) + frames.reset(number, Code.CANCEL) for number in some))
                left -= len(some)
                if left <= 0:
                    break


def _begun(number: int) -> bytes:
    """A head alone, one with a part of its message, or with all of it, in turn."""
    if number % 3 == 0:
        return begin(number, INFER)
    if number % 3 == 1:
        return begin(number, INFER) + frames.frame(frames.DATA, 0, number, prefix(60_000) + bytes(100))
    return call(number, INFER, b"\xff" * 20)


def _half_closed(server: Server, count: int) -> None:
    """Connections on which a client stops in the middle, and sends no more, or goes away without a word."""
    grpc = OPENING + begin(1, INFER) + frames.frame(frames.DATA, 0, 1, prefix(9_000) + bytes(4_000))
    starts = [(server.port, _post(b"x" * 5_000)[:3_000]), (server.port, b"POST /v2/mod"), (server.grpc_port, grpc)]
    held: deque[socket.socket] = deque()
    for number in range(count):
        port, start = starts[number % len(starts)]
        sock = _connected(port)
        sock.sendall(start)
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            sock.close()
        else:
            sock.shutdown(socket.SHUT_WR)
            held.append(sock)
        if len(held) > HELD:
            held.popleft().close()
    for sock in held:
        sock.close()


ATTACKS = (
    Attack("binary header lies", _headers),
    Attack("chunk floods", _chunks),
    Attack("1,000,000 chunks", _million, 10_000),
    Attack("oversized metadata", _metadata),
    Attack("rapid resets", _resets),
    Attack("half-closed sockets", _half_closed),
)


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["100000"])[0]))
    sys.exit(verdict())
