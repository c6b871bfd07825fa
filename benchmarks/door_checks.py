"""Checks of the door's proof over raw sockets; each takes a server and returns its figures.

`requests` counts what was sent and should be answered, `lost` what was not answered in full and rightly.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from door_bystander import Bystander
from door_served import Server, Wire, counts, post

Figures = dict[str, Any]
_GET = b"GET /ok HTTP/1.1\r\nHost: door\r\n\r\n"
_CHUNKED = b"POST /echo HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20


def _each(number: int, work: Callable[[int], int]) -> int:
    """Run `work(0..number-1)` in threads; a thread that raises loses one. Returns the sum."""
    results = [1] * number

    def run(index: int) -> None:
        with contextlib.suppress(OSError):
            results[index] = work(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(results)


def _bystander(server: Server) -> Bystander:
    return Bystander(contextlib.closing(Wire(server.port)), lambda wire: wire.ask(_GET)[0] == 200)


def slow_reader(server: Server) -> Figures:
    """40 clients each ask for 5 answers of 8 MiB and read nothing for 4 s; ten of them read in the end."""
    clients = [Wire(server.port, receive_buffer=65536) for _ in range(40)]
    ask = post(b"?", f"/large?{8 * MIB}") * 5
    with _bystander(server) as bystander:
        for client in clients:
            client.send(ask)
        time.sleep(4.0)
        lost = answered = shed = 0
        for client in clients[:10]:
            client.sock.settimeout(10)
            for _ in range(5):
                try:
                    status, body = client.answer()
                except OSError:
                    lost += 1
                    break
                if status == 503:
                    shed += 1
                    break
                answered += 1
                lost += len(body) != 8 * MIB
        for client in clients:
            client.close()
    return bystander.figures(answered + shed, lost, shed_503=shed)


def unread_body(server: Server) -> Figures:
    """Bodies of 8 MiB to an application that does not look at them, on kept connections."""
    body = post(b"x" * (8 * MIB), "/ok")

    def work(_: int) -> int:
        with contextlib.closing(Wire(server.port)) as wire:
            return sum(wire.ask(body) != (200, b"ok") for _ in range(20))

    with _bystander(server) as bystander:
        lost = _each(3, work)
    return bystander.figures(60, lost)


def large_bodies(server: Server) -> Figures:
    """64 MiB to and fro, three clients at once; then one byte more than allowed."""
    body = bytes(range(256)) * (64 * MIB // 256)
    request = memoryview(post(body))

    def work(_: int) -> int:
        lost = 0
        for _ in range(2):
            with contextlib.closing(Wire(server.port)) as wire:
                threading.Thread(target=wire.send, args=(request,)).start()
                status, got = wire.answer()
                lost += status != 200 or got != body
        return lost

    began = time.perf_counter()
    lost = _each(3, work)
    seconds = time.perf_counter() - began
    refused = 0
    with contextlib.closing(Wire(server.port, timeout=1.0)) as wire, contextlib.suppress(TimeoutError):
        wire.send(b"POST /echo HTTP/1.1\r\nHost: door\r\nContent-Length: %d\r\n\r\n" % (64 * MIB + 1))
        refused = wire.answer()[0]
    return {"requests": 7, "lost": lost, "mib_per_second": round(6 * 128 / seconds), "one_byte_more": refused}


def pipelining(server: Server) -> Figures:
    """Eight connections with 5,000 requests each, sent without waiting; order and content checked."""

    def work(number: int) -> int:
        with contextlib.closing(Wire(server.port)) as wire:
            requests = b"".join(post(b"%d-%d" % (number, turn)) for turn in range(5000))
            threading.Thread(target=wire.send, args=(requests,)).start()
            return sum(wire.answer() != (200, b"%d-%d" % (number, turn)) for turn in range(5000))

    return {"requests": 40_000, "lost": _each(8, work)}


def tiny_chunks(server: Server) -> Figures:
    """A body of 1,000,000 one-byte chunks, another client served meanwhile."""
    wire = Wire(server.port, timeout=60)
    body = _CHUNKED + b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"
    began = time.perf_counter()
    with _bystander(server) as bystander, contextlib.closing(wire):
        answer = wire.ask(body)
        seconds = time.perf_counter() - began
    return bystander.figures(1, int(answer != (200, b"x" * 1_000_000)), seconds=round(seconds, 2))


_HOSTILE = [
    b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"Content-Length: 3, 3\r\n\r\nabc",
    b"Content-Length: +3\r\n\r\nabc",
    b"Content-Length: 0x3\r\n\r\nabc",
    b"Content-Length: 3 3\r\n\r\nabc",
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"X: 1\r\n\tfolded\r\n\r\n",
    b"X: 1\nY: 2\r\n\r\n",
    b"X: 1\rY: 2\r\n\r\n",
    b"X: a\x00b\r\n\r\n",
    b"Host: second\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 100_000 + b"\r\nx\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n" + b"1;eeeeeeee\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
    b"X: " + b"x" * 40_000 + b"\r\n\r\n",
]
_HOSTILE_LINES = [
    b"GET /ok\r\n\r\n", b"GET /ok HTTP/2.0\r\nHost: d\r\n\r\n", b"GET  /ok HTTP/1.1\r\nHost: d\r\n\r\n",
    b"FOO /ok HTTP/1.1\r\nHost: d\r\n\r\n", b"GET /ok HTTP/1.1\r\n\r\n", b"GET ok HTTP/1.1\r\nHost: d\r\n\r\n",
    b"GET /ok#x HTTP/1.1\r\nHost: d\r\n\r\n", b"SOURCE /ok ICE/1.0\r\nHost: d\r\n\r\n",
]  # fmt: skip


def smuggling(server: Server) -> Figures:
    """Ambiguous requests, each with a second one behind it: a 4xx or 5xx, the end, and nothing served."""
    attempts = [b"POST /ok HTTP/1.1\r\nHost: door\r\n" + rest for rest in _HOSTILE] + _HOSTILE_LINES
    accepted = []
    for attempt in attempts:
        with contextlib.closing(Wire(server.port, timeout=1.0)) as wire:
            with contextlib.suppress(OSError):
                wire.send(attempt + _GET)
            try:
                status = wire.answer()[0]
            except OSError:
                status = 400  # ended without a word: refused
            if status < 400 or not wire.ended():
                accepted.append(attempt[-60:].decode("latin-1"))
    return {"requests": len(attempts), "lost": len(accepted), "accepted": accepted[:3]}


def slowloris(server: Server) -> Figures:
    """2,000 connections that send a byte of a head now and then; others are served, all are ended."""
    crowd = [Wire(server.port) for _ in range(2000)]
    began, told = time.monotonic(), 0
    with _bystander(server) as bystander:
        for client in crowd:
            client.send(b"GET /ok HTTP/1.1\r\nX: ")
        for _ in range(3):
            for client in crowd:
                with contextlib.suppress(OSError):
                    client.send(b"x")
            time.sleep(0.5)
        for client in crowd:
            client.sock.settimeout(max(0.001, began + 6 - time.monotonic()))
            with contextlib.suppress(OSError):
                told += client.answer()[0] == 408
        seconds = time.monotonic() - began
    for client in crowd:
        client.close()
    return bystander.figures(2000, 2000 - told, seconds=round(seconds, 1))


def half_closed(server: Server) -> Figures:
    """Clients that end their side after the request, answered at once and 300 ms later."""

    def work(number: int) -> int:
        body = b"%d" % number
        with contextlib.closing(Wire(server.port, timeout=5.0)) as wire:
            wire.send(post(body, "/echo" if number % 2 else "/slow?300"))
            wire.sock.shutdown(socket.SHUT_WR)
            return int(wire.answer() != (200, body))

    return {"requests": 200, "lost": _each(200, work)}


def client_gone(server: Server) -> Figures:
    """100 clients that leave before the answer: each is told to the application once."""
    for _ in range(100):
        with contextlib.closing(Wire(server.port)) as wire:
            wire.send(post(b"x", "/slow?4000"))
    deadline = time.monotonic() + 3.5
    while (told := counts(server)["abandoned"]) < 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"requests": 100, "lost": abs(100 - told), "abandoned": told}


def split(server: Server) -> Figures:
    """64 kept connections opened at once, over two processes: how many each process has."""
    clients = []
    for _ in range(64):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", server.port))
        clients.append(sock)
    shares: dict[bytes, int] = {}
    for sock in clients:
        sock.settimeout(5)
        sock.sendall(b"GET /pid HTTP/1.1\r\nHost: door\r\n\r\n")
        pid = sock.recv(4096).rpartition(b"\r\n\r\n")[2]
        shares[pid] = shares.get(pid, 0) + 1
        time.sleep(0.001)
    for sock in clients:
        sock.close()
    return {"requests": 64, "lost": 64 - sum(shares.values()), "shares": sorted(shares.values())}
