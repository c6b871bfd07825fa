"""Bodies still to come: asked for, refused before they are taken in, thrown away."""

from __future__ import annotations

import json

import pytest

from changeover.gateway.door.limits import MIB
from tests.gateway.door.served import WAIT_SECONDS, Served, post, serving

_LENGTH = 64 * MIB


def top(path: str, *fields: str) -> bytes:
    """A head whose body does not follow."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: door", *fields, "", ""]).encode()


def test_expect_continue(door: Served) -> None:
    """The interim answer comes before the body is sent, and not when it came along."""
    whole = post(b"hello", "Expect: 100-continue")
    with door.client() as client:
        client.send(whole[:-5])
        assert client.interim() == b"HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert client.interim().startswith(b"HTTP/1.1 200 ")
    with door.client() as client:
        client.send(whole)
        assert client.interim().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("framing", [f"Content-Length: {_LENGTH}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("expectation", [[], ["Expect: 100-continue"]], ids=["at once", "asked first"])
def test_a_body_that_is_not_wanted_is_not_taken_in(door: Served, framing: str, expectation: list[str]) -> None:
    """The application's answer comes without the body and without `100 Continue`, and is the connection's last."""
    with door.client() as client:
        client.send(top("/private", framing, *expectation))
        answer = client.interim()
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in answer
        assert door.server.budget_used == 0
        assert client.rest() == b"no"
    assert (door.app.asked, door.app.seen) == (["/private"], [])


@pytest.mark.parametrize("framing", [f"Content-Length: {_LENGTH}", "Transfer-Encoding: chunked"])
def test_a_body_that_is_wanted_is_taken_in(door: Served, framing: str) -> None:
    """The control of the test above: the same head for another path is told to go on, and is charged to the budget."""
    with door.client() as client:
        client.send(top("/echo", framing, "Expect: 100-continue"))
        assert client.interim() == b"HTTP/1.1 100 Continue"
        assert door.server.budget_used >= min(_LENGTH, 64 * 1024)
    assert (door.app.asked, door.app.seen) == (["/echo"], [])


def test_a_body_is_asked_about_once(door: Served) -> None:
    """Its request comes again as a whole; a small body that came along is not asked about."""
    body = b"x" * 200_000
    with door.client() as client:
        client.send(post(body))
        assert client.answer().body == body
        client.send(post(b"small"))
        assert client.answer().body == b"small"
    assert door.app.asked == ["/echo"]
    assert [len(request.body) for request in door.app.seen] == [len(body), 5]


def test_a_refusal_is_readable_while_the_body_comes(door: Served) -> None:
    """A client that sends on regardless learns why it was refused; nothing of the body is held meanwhile."""
    with door.client() as client:
        client.send(top("/private", "Content-Length: 4000000"))
        for _ in range(40):
            client.send(b"x" * 100_000)
            assert door.server.budget_used == 0
        assert client.answer().status == 401
        assert client.ended()


def test_answers_before_a_refused_body_come_first(door: Served) -> None:
    """What was pipelined before it is answered; what comes behind it is not read as a request."""
    smuggled = post(b"never")
    with door.client() as client:
        client.send(post(b"first") + top("/private", f"Content-Length: {len(smuggled) + 1}") + smuggled)
        assert client.answer().body == b"first"
        assert client.answer().status == 401
        assert client.ended()
    assert [bytes(request.body) for request in door.app.seen] == [b"first"]


def test_a_refusal_waits_for_nobodys_budget() -> None:
    """Where all bytes are in use, a body that is not wanted is refused at once, and one that is wanted waits."""
    with serving(gateway_bytes=2 * MIB, wait_seconds=WAIT_SECONDS * 2) as door:
        with door.client() as first, door.client() as refused, door.client() as waiting:
            first.send(post(b"x" * (2 * MIB), path="/hold"))
            door.until(lambda: len(door.app.held) == 1, "the first body")
            waiting.send(top("/echo", f"Content-Length: {MIB}"))
            refused.send(top("/private", f"Content-Length: {MIB}"))
            assert refused.answer().status == 401
            assert [request.path for request in door.app.seen] == ["/hold"]
        door.until(lambda: door.server.connections == 0, "the end")
        assert door.server.budget_used == 0


def test_application_that_raises_before_the_body(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A defect while it is asked about a body is answered 500, and the connection ends."""
    with door.client() as client:
        client.send(post(b"x" * 100_000, path="/raise"))
        answer = client.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (500, "internal")
        assert client.ended()
    assert "the application raised" in caplog.text
    assert door.app.seen == []
