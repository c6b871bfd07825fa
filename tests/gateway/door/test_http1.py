"""The connection over real sockets: framing, order, ends, time-outs, budgets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from changeover.gateway.door.limits import KIB, MIB
from tests.gateway.door.served import CHUNKED_HEAD, WAIT_SECONDS, Served, get, post


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
        door.until(lambda: any(c._reading._began for c in door.server._gate.connections), "the first bytes")
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
                if connection._reading.scheduled:
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


def test_upgrade_offer_is_ignored(door: Served) -> None:
    """An offer of h2c is answered as an ordinary request; HTTP/2 itself is answered 505."""
    with door.client() as client:
        client.send(get("/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"))
        assert client.answer().status == 200
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.answer().status == 505
