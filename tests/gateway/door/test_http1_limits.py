"""What a connection may take, in time and in memory, over real sockets."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time

import pytest

from changeover.gateway.door.limits import KIB, MIB
from tests.gateway.door.served import CHUNKED_HEAD, WAIT_SECONDS, Served, get, post, serving
from tests.gateway.door.test_http1 import reason
from tests.held_up import unless_held_up


def test_slow_head_body_and_first_byte() -> None:
    """A head and a body that do not arrive are answered 408; a silent connection is just closed."""
    with serving(header_seconds=1.0, body_seconds=0.2, byte_rate=MIB) as door, contextlib.ExitStack() as stack:
        clients = []
        for part in (get()[:10], post(b"hello")[:-1], CHUNKED_HEAD + b"5\r\nh", b""):
            clients.append(stack.enter_context(door.client()))
            clients[-1].send(part)
        *slow, silent = clients
        for client in slow:
            answer = client.answer()
            assert (answer.status, reason(answer.body)) == (408, "timeout")
            assert client.ended()
        assert silent.ended()
        assert not door.app.seen


@pytest.mark.parametrize("whole", [get("/" + "a" * 200), post(b"x" * 1000)], ids=["head", "body"])
def test_trickling_does_not_extend_the_time(whole: bytes) -> None:
    """One byte at a time keeps neither a head nor a body alive."""
    with serving(header_seconds=1.0, body_seconds=0.3, byte_rate=MIB) as door, door.client() as client:
        answered, gate = False, door.server._gate
        began = gate.now
        for byte in whole[:-1]:
            client.send(bytes([byte]))
            answered = bool(select.select([client.sock], [], [], 0.02)[0])
            if answered or gate.now - began > 3:  # the door's own clock: it stands still when the door does
                break
        assert answered
        assert client.answer().status == 408
        assert not door.app.seen


def test_large_upload_gets_the_time_its_size_needs() -> None:
    """A body that keeps its rate outlives the base time."""
    with serving(body_seconds=0.2, byte_rate=10 * KIB) as door, door.client() as client:
        body, gate = b"x" * (200 * KIB), door.server._gate
        client.send(post(body)[: -100 * KIB])
        door.until(lambda: door.server.connections == 1, "the connection")
        began = gate.now
        door.until(lambda: gate.now > began + 0.8, "four times the base time")
        client.send(body[-100 * KIB :])
        assert client.answer().body == body


def test_idle_connection_is_closed() -> None:
    """A kept-alive connection without a next request is closed without a word."""
    with serving(idle_seconds=0.2) as door, door.client() as client:
        client.send(get())
        client.answer()
        assert client.ended()
        assert door.server.counts.refused == 0


@unless_held_up(0.5)
def test_long_answer_is_no_time_out() -> None:
    """While the application works no time-out runs."""
    short = {"idle_seconds": 0.1, "header_seconds": 1.0, "body_seconds": 0.1, "linger_seconds": 0.1}
    with serving(**short) as door, door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        time.sleep(1.5)
        door.call(lambda: door.app.held[0].respond(200, b"", (b"done",)))
        assert client.answer().body == b"done"


def test_slow_reader_holds_one_answer_and_then_goes() -> None:
    """A client that pipelines and does not read costs one unsent answer, and is cut after the write time."""
    with serving(write_seconds=0.5, byte_rate=64 * MIB) as door, door.client(receive_buffer=4096) as client:
        client.send(get("/view?8000000") * 50)
        door.until(lambda: door.server.budget_used > 0, "an unsent answer")
        time.sleep(0.1)
        assert len(door.app.seen) < 5
        assert door.server.budget_used <= 8_000_200
        door.until(lambda: door.server.connections == 0, "the cut")
        assert door.server.budget_used == 0
        assert door.server.counts.expired == 1


def test_slow_reader_that_reads_gets_everything() -> None:
    """A client that reads late, but reads, gets every byte of every answer."""
    with serving() as door, door.client(receive_buffer=4096) as client:
        client.send(get("/view?3000000") + get("/large?3000000") + get("/large?10"))
        time.sleep(0.2)
        assert [len(client.answer().body) for _ in range(3)] == [3_000_000, 3_000_000, 10]
        assert door.server.budget_used == 0


def test_a_body_over_the_budget_waits() -> None:
    """It is served when there is room; a small one need not wait for it."""
    with serving(gateway_bytes=2 * MIB, wait_seconds=WAIT_SECONDS) as door:
        body = b"x" * MIB
        with door.client() as first, door.client() as second, door.client() as small:
            first.send(post(body, path="/hold"))
            door.until(lambda: len(door.app.held) == 1)
            second.send(post(body))
            small.send(post(b"tiny"))
            assert small.answer().body == b"tiny"
            door.call(lambda: door.app.held[0].respond(200, b"", ()))
            assert second.answer().body == body
        assert door.server.counts.shed == 0


def test_a_body_over_the_budget_is_shed() -> None:
    """With 503 when there was no room all the time."""
    with serving(gateway_bytes=2 * MIB, wait_seconds=0.6) as door:
        body = b"x" * MIB
        with door.client() as first, door.client() as second:
            first.send(post(body, path="/hold"))
            door.until(lambda: len(door.app.held) == 1)
            second.send(post(body))
            answer = second.answer()
            assert (answer.status, reason(answer.body)) == (503, "overloaded")
            assert answer.headers["retry-after"] == "1"
            assert door.server.counts.shed == 1
        door.until(lambda: door.server.connections == 0)
        assert door.server.budget_used == 0


def test_chunked_body_is_charged_as_it_grows() -> None:
    """A chunked body counts against the budget too."""
    with serving(gateway_bytes=MIB, wait_seconds=0.1) as door, door.client() as client:
        client.send(CHUNKED_HEAD)
        for _ in range(20):
            client.send(b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000))
        assert client.answer().status == 503
    door.until(lambda: door.server.budget_used == 0)


def test_too_large_is_told_to_a_client_that_keeps_sending(door: Served) -> None:
    """413 comes without waiting for the body and is readable although the client sends on."""
    with serving(body_bytes=MIB) as small, small.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 2000000\r\n\r\n")
        for _ in range(20):
            client.send(b"x" * 100_000)
        assert client.answer().status == 413
        assert client.ended()
    with serving(body_bytes=1000) as small, small.client() as client:
        client.send(CHUNKED_HEAD + b"3e9\r\n")
        assert client.answer().status == 413


def test_half_closed_client_gets_its_answers(door: Served) -> None:
    """A client that has stopped sending still gets the answers it waits for, then the end."""
    with door.client() as client:
        client.send(get("/hold") + post(b"two"))
        client.sock.shutdown(socket.SHUT_WR)
        door.until(lambda: len(door.app.held) == 1)
        time.sleep(0.05)
        door.call(lambda: door.app.held[0].respond(200, b"", (b"one",)))
        assert client.answer().body == b"one"
        last = client.answer()
        assert (last.body, last.headers["connection"]) == (b"two", "close")
        assert client.ended()
    assert not door.app.abandoned


def test_half_closed_client_survives_the_probe() -> None:
    """A half-closed client that waits long is probed by an interim answer, and answered."""
    with serving(probe_seconds=0.0) as door, door.client() as client:
        client.send(get("/hold"))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.interim() == b"HTTP/1.1 100 Continue"
        time.sleep(0.6)
        door.call(lambda: door.app.held[0].respond(200, b"", (b"late",)))
        assert client.answer().body == b"late"
        assert not door.app.abandoned


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_client_gone_is_told_once(reset: bool) -> None:
    """When the client goes away the application hears it once, and its late answer is no error."""
    with serving(probe_seconds=0.0) as door:
        client = door.client()
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
        door.until(lambda: door.app.abandoned == ["/hold"], "abandonment")
        door.until(lambda: door.server.connections == 0)
        door.call(lambda: door.app.held[0].respond(200, b"", (b"late",)))
        assert door.app.abandoned == ["/hold"]
        assert door.server.counts.abandoned == 1


def test_truncated_requests_are_dropped(door: Served) -> None:
    """A client that ends in the middle of a request is let go; the application never sees it."""
    for part in (get()[:10], post(b"hello")[:-1], CHUNKED_HEAD + b"5\r\nhel"):
        with door.client() as client:
            client.send(part)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.ended()
    assert not door.app.seen
    door.until(lambda: door.server.budget_used == 0)
