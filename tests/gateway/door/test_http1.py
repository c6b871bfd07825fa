"""The connection over real sockets: framing, order, ends, time-outs, budgets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import struct
import time

import pytest

from changeover.gateway.door.limits import KIB, MIB
from tests.gateway.door.served import CHUNKED_HEAD, WAIT_SECONDS, Served, get, post, serving


def reason(body: bytes) -> str:
    return str(json.loads(body)["reason"])


def test_keep_alive_and_fields(door: Served) -> None:
    """Many requests use one connection; answers carry length and date, and the application's fields."""
    with door.client() as client:
        for number in range(50):
            client.send(post(b"%d" % number))
            answer = client.answer()
            assert (answer.status, answer.body) == (200, b"%d" % number)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["date"].endswith("GMT")
        assert "connection" not in answer.headers
    assert door.server.counts.accepted == 1


def test_what_the_application_sees(door: Served) -> None:
    """A request shows method, decoded path, query, fields, body and when its first byte came."""
    before = time.monotonic()
    with door.client() as client:
        client.send(post(b"abc", "X-A: 1", path="/a%20b?q=1"))
        client.answer()
    request = door.app.seen[0]
    assert (request.method, request.path, request.query, bytes(request.body)) == ("POST", "/a b", "q=1", b"abc")
    assert request.headers[b"x-a"] == b"1"
    assert before <= request.received <= time.monotonic()


def test_received_is_the_first_byte(door: Served) -> None:
    """A head that dribbles in is dated by its first byte."""
    with door.client() as client:
        client.send(get()[:5])
        door.until(lambda: any(c._began for c in door.server._gate.connections), "the first bytes")
        before = time.monotonic()
        client.send(get()[5:])
        client.answer()
    assert door.app.seen[0].received <= before


def test_close_by_client_application_and_http_1_0(door: Served) -> None:
    """Whoever wants the connection closed gets it, and the answer says so."""
    for request in (get("/", "Connection: close"), get("/close"), get(version="1.0")):
        with door.client() as client:
            client.send(request)
            assert client.answer().headers["connection"] == "close"
            assert client.ended()


def test_http_1_0_keep_alive(door: Served) -> None:
    """An HTTP/1.0 client that asks to keep the connection is told so."""
    with door.client() as client:
        for _ in range(2):
            client.send(get("/", "Connection: keep-alive", version="1.0"))
            assert client.answer().headers["connection"] == "keep-alive"


def test_head_and_statuses_without_body(door: Served) -> None:
    """HEAD tells the length without the body; 204 and 304 have neither; the connection goes on."""
    with door.client() as client:
        client.send(b"HEAD /large?100000 HTTP/1.1\r\nHost: door\r\n\r\n")
        assert client.answer(bodyless=True).headers["content-length"] == "100000"
        for status in (204, 304):
            client.send(get(f"/status?{status}"))
            answer = client.answer()
            assert answer.status == status
            assert "content-length" not in answer.headers
        client.send(get("/status?404"))
        assert client.answer().headers["content-length"] == "0"


@pytest.mark.parametrize("size", [1, 64 * KIB, 64 * KIB + 1, 600_000, 5 * MIB])
def test_bodies_of_all_sizes(door: Served, size: int) -> None:
    """A body comes back as it went, sized or chunked, whatever the sizes of buffers on the way."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    with door.client() as client:
        client.send(post(body))
        assert client.answer().body == body
        client.send(CHUNKED_HEAD)
        for start in range(0, size, 100_000):
            part = body[start : start + 100_000]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.answer().body == body
    door.until(lambda: door.server.budget_used == 0, "an empty budget")


def test_many_one_byte_chunks(door: Served) -> None:
    """A hundred thousand one-byte chunks make one body, and another client is served meanwhile."""
    wire = CHUNKED_HEAD + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    with door.client() as busy, door.client() as other:
        busy.send(wire[: len(wire) // 2])
        other.send(get())
        assert other.answer().status == 200
        busy.send(wire[len(wire) // 2 :])
        assert busy.answer().body == b"x" * 100_000


def test_no_time_out_while_the_next_step_is_ours(door: Served) -> None:
    """A deadline that passes between two turns of a body that is already here refuses nobody."""
    hits = 0

    async def expire_between_turns() -> None:
        nonlocal hits
        end = time.monotonic() + WAIT_SECONDS
        while not door.app.seen and time.monotonic() < end:
            for connection in list(door.server._gate.connections):
                if connection._scheduled:
                    connection.expire()
                    hits += 1
            await asyncio.sleep(0)

    with door.client() as client:
        expiring = door.begin(expire_between_turns())
        client.send(CHUNKED_HEAD + b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n")
        assert client.answer().body == b"x" * 40_000
        expiring.result(WAIT_SECONDS)
    assert hits > 3


def test_pipelined_requests_are_answered_in_order(door: Served) -> None:
    """A thousand requests sent at once, of all kinds, are answered one by one in their order."""
    kinds = [
        lambda n: post(b"%d" % n),
        lambda n: CHUNKED_HEAD + b"%x\r\n%d\r\n0\r\n\r\n" % (len(str(n)), n),
        lambda n: post(b"%d" % n, "Connection: keep-alive"),
    ]
    wire = b"".join(kinds[number % 3](number) for number in range(1000))
    with door.client() as client:
        client.send(wire)
        assert [client.answer().body for _ in range(1000)] == [b"%d" % number for number in range(1000)]


def test_one_request_in_progress(door: Served) -> None:
    """The next pipelined request is handed over when the one before it was answered, not earlier."""
    with door.client() as client:
        client.send(get("/hold/1") + get("/hold/2"))
        door.until(lambda: len(door.app.held) == 1)
        time.sleep(0.05)
        assert len(door.app.held) == 1
        door.call(lambda: door.app.held[0].respond(200, b"", (b"one",)))
        door.until(lambda: len(door.app.held) == 2)
        door.call(lambda: door.app.held[1].respond(200, b"", (b"two",)))
        assert [client.answer().body for _ in range(2)] == [b"one", b"two"]


def test_reading_pauses_behind_a_request_in_progress(door: Served) -> None:
    """A client that pipelines without end is not read without end; everything is answered later."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        client.sock.settimeout(0.3)
        wire, sent = post(b"x" * 1000) * 20_000, 0
        with contextlib.suppress(TimeoutError):
            while sent < len(wire):
                sent += client.sock.send(wire[sent : sent + 262144])
        client.sock.settimeout(WAIT_SECONDS)
        assert sent < len(wire)
        door.call(lambda: door.app.held[0].respond(200, b"", ()))
        whole = sent // len(post(b"x" * 1000))
        assert whole > 10
        for _ in range(whole + 1):
            client.answer()


def test_second_answer_is_ignored(door: Served) -> None:
    """Only the first answer of a request is sent."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        request = door.app.held[0]
        assert request.open
        door.call(lambda: [request.respond(200, b"", (text,)) for text in (b"first", b"second")])
        client.send(get("/echo"))
        assert [client.answer().body for _ in range(2)] == [b"first", b""]
        assert not request.open


def test_application_that_raises(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A defect in the application is answered 500 and logged; others are served on."""
    with door.client() as client:
        client.send(get("/raise"))
        answer = client.answer()
        assert (answer.status, reason(answer.body)) == (500, "internal")
        assert client.ended()
    with door.client() as client:
        client.send(get())
        assert client.answer().status == 200
    assert "the application raised" in caplog.text


def test_expect_continue(door: Served) -> None:
    """The interim answer comes before the body is sent, and not when it came along."""
    top = post(b"hello", "Expect: 100-continue")
    with door.client() as client:
        client.send(top[:-5])
        assert client.interim() == b"HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert client.interim().startswith(b"HTTP/1.1 200 ")
    with door.client() as client:
        client.send(top)
        assert client.interim().startswith(b"HTTP/1.1 200 ")


_SMUGGLING = {
    "cl and te": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two cl": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "signed cl": b"Content-Length: +4\r\n\r\nabcd",
    "te twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "folded te": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "blank before colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "bare lf": b"X: 1\nContent-Length: 4\r\n\r\nabcd",
    "nul": b"X: a\x00b\r\n\r\n",
    "second host": b"Host: other\r\n\r\n",
    "bad chunk": b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "chunk end": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx0\r\n\r\n",
}


@pytest.mark.parametrize("attempt", _SMUGGLING.values(), ids=_SMUGGLING.keys())
def test_smuggling(door: Served, attempt: bytes) -> None:
    """An ambiguous request is answered 400, the connection ends, and what follows is never a request."""
    with door.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: door\r\n" + attempt + get("/smuggled"))
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert reason(answer.body)
        assert client.ended()
    assert all(request.path != "/smuggled" for request in door.app.seen)


def test_refusal_follows_the_answers_before_it(door: Served) -> None:
    """A broken request behind a good one is refused after the good one's answer."""
    with door.client() as client:
        client.send(get("/hold") + b"BROKEN\r\n\r\n")
        door.until(lambda: len(door.app.held) == 1)
        door.call(lambda: door.app.held[0].respond(200, b"", (b"good",)))
        assert client.answer().body == b"good"
        assert client.answer().status == 400


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
        answered = False
        for byte in whole[:-1]:
            client.send(bytes([byte]))
            answered = bool(select.select([client.sock], [], [], 0.02)[0])
            if answered:
                break
        assert answered
        assert client.answer().status == 408
        assert not door.app.seen


def test_large_upload_gets_the_time_its_size_needs() -> None:
    """A body that keeps its rate outlives the base time."""
    with serving(body_seconds=0.2, byte_rate=10 * KIB) as door, door.client() as client:
        body = b"x" * (200 * KIB)
        client.send(post(body)[: -len(body)])
        for start in range(0, len(body), 20 * KIB):
            client.send(body[start : start + 20 * KIB])
            time.sleep(0.08)
        assert client.answer().body == body


def test_idle_connection_is_closed() -> None:
    """A kept-alive connection without a next request is closed without a word."""
    with serving(idle_seconds=0.2) as door, door.client() as client:
        client.send(get())
        client.answer()
        assert client.ended()
        assert door.server.counts.refused == 0


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
    with serving(write_seconds=2.0, byte_rate=64 * MIB) as door, door.client(receive_buffer=4096) as client:
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


def test_answers_may_reuse_their_memory(door: Served) -> None:
    """What is unsent was copied: the application may overwrite its buffer at once."""
    with door.client(receive_buffer=4096) as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        memory = bytearray(b"a" * 4_000_000)

        def answer_and_overwrite() -> None:
            door.app.held[0].respond(200, b"", (b"head", memoryview(memory), memoryview(memory)))
            memory[:] = b"b" * len(memory)

        door.call(answer_and_overwrite)
        assert client.answer().body == b"head" + b"a" * 8_000_000


def test_many_parts_and_wide_items(door: Served) -> None:
    """An answer of very many chunks, and views of wider items, are counted in bytes."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        wide = memoryview(bytes(80_000)).cast("d")
        door.call(lambda: door.app.held[0].respond(200, b"", [wide, *[b"xy"] * 2000]))
        assert len(client.answer().body) == 84_000


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


def test_upgrade_offer_is_ignored(door: Served) -> None:
    """An offer of h2c is answered as an ordinary request; HTTP/2 itself is answered 505."""
    with door.client() as client:
        client.send(get("/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"))
        assert client.answer().status == 200
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.answer().status == 505
