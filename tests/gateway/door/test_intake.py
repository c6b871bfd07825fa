"""Bytes to requests, without a socket: the same whatever the split."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.gateway.door.budget import Budget
from changeover.gateway.door.head import HeadCache
from changeover.gateway.door.intake import Intake, Step
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.refusal import Refused

_LIMITS = Limits(body_bytes=1 << 20)
Found = tuple[str, str, dict[bytes, bytes], bytes]


def intake(budget: Budget | None = None) -> Intake:
    return Intake(HeadCache(_LIMITS), _LIMITS, budget or Budget(1 << 30))


def requests(pieces: list[bytes]) -> list[Found | int]:
    """Every request found, and the status of the refusal that ended it."""
    door = intake()
    found: list[Found | int] = []
    try:
        for piece in pieces:
            door.feed(piece)
            while (step := door.next()) is not Step.MORE:
                if step is Step.REQUEST:
                    found.append((door.head.method, door.head.path, door.head.headers, bytes(door.body)))
                    door.release()
    except Refused as refused:
        found.append(refused.status)
    return found


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


_SIZED = st.binary(max_size=400).map(
    lambda body: b"POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
)
_CHUNKED = st.lists(st.binary(min_size=1, max_size=100), max_size=6).map(
    lambda chunks: (
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\n\r\n"
    )
)
_BARE = st.sampled_from([b"GET /g HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\nGET /blank HTTP/1.1\r\nHost: h\r\n\r\n"])
_BROKEN = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
)


@settings(max_examples=200)
@given(st.lists(st.one_of(_SIZED, _CHUNKED, _BARE, _BROKEN), max_size=4), st.lists(st.integers(0, 9999), max_size=30))
def test_any_split_gives_the_same(messages: list[bytes], cuts: list[int]) -> None:
    """Requests cut at any bytes give the same requests and the same refusal as in one piece."""
    wire = b"".join(messages)
    assert requests(split(wire, cuts)) == requests([wire])


def test_every_single_byte() -> None:
    """A sized, a chunked and a bare request arrive byte by byte."""
    wire = (
        b"POST /a?q HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nworld\r\n0\r\nT: 1\r\n\r\n"
        b"GET /c HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    found: Any = requests([bytes([byte]) for byte in wire])
    assert [(path, body) for _, path, _, body in found] == [("/a", b"hello"), ("/b", b"world"), ("/c", b"")]


def test_a_head_with_a_token_stays_with_its_connection() -> None:
    """It is parsed once as long as the client repeats it, also between others; with the connection it is forgotten."""
    bare = b"GET / HTTP/1.1\r\nHost: h\r\n"
    first, second = (bare + b"Authorization: Bearer %b\r\n\r\n" % token for token in (b"one", b"two"))
    door, heads = intake(), []
    for raw in (first, first, bare + b"\r\n", first, second, first):
        door.feed(raw)
        assert door.next() is Step.REQUEST
        heads.append(door.head)
    assert heads[0] is heads[1] is heads[3]
    assert [head.headers.get(b"authorization", b"")[7:] for head in heads[2:]] == [b"", b"one", b"two", b"one"]
    assert b"Bearer one" in repr(door._last).encode()
    door.clear()
    assert door._last is None


def test_whole_body_is_not_copied() -> None:
    """A body that arrived with its head is a view of what was read."""
    door = intake()
    data = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    door.feed(data)
    assert door.next() is Step.REQUEST
    assert door.body.obj is data


def test_bytes_are_charged_before_they_are_held() -> None:
    """A sized body is charged whole and once, a chunked one as it grows; all of it is given back."""
    budget = Budget(1 << 30)
    door = intake(budget)
    door.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\nx")
    assert (door.next(), budget.used) == (Step.HEAD, 0)
    assert (door.next(), budget.used) == (Step.MORE, 900000)
    door.release()
    assert budget.used == 0
    door = intake(budget)
    door.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n")
    assert (door.next(), door.next(), budget.used) == (Step.HEAD, Step.MORE, 65536)
    door.feed(b"x" * 200000)
    assert door.next() is Step.MORE
    assert budget.used >= 200000
    door.release()
    assert budget.used == 0


def test_a_short_budget_stops_the_body_until_it_is_granted() -> None:
    """What is missing is asked for until the budget has it, and then the body goes on."""
    budget = Budget(1 << 20)
    budget.charge(1 << 20)
    door = intake(budget)
    door.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
    assert [door.next(), door.next()] == [Step.WANT] * 2
    assert door.wanted == 5
    door.granted()
    assert door.next() is Step.REQUEST
    assert bytes(door.body) == b"hello"


@pytest.mark.parametrize(
    ("fields", "body", "asked"),
    [
        (b"Content-Length: 5", b"hello", False),
        (b"Content-Length: 5", b"hell", True),
        (b"Content-Length: 70000", b"x" * 70000, True),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n0\r\n\r\n", True),
    ],
)
def test_the_head_comes_first_unless_a_small_body_came_along(fields: bytes, body: bytes, asked: bool) -> None:
    """So the decision whether a body is taken in never depends on how a large one was cut by the network."""
    door = intake()
    door.feed(b"POST /a HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n\r\n" + body)
    assert (door.next() is Step.HEAD) is asked
    assert door.head.path == "/a"


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\n", b"GET /\rX", b"\x16\x03\x01\x00", b"\n", b"GET / HTTP/1.1\r\nA: b\nC"]
)
def test_hopeless_starts_are_refused_early(start: bytes) -> None:
    """What no further byte can make a request is refused without waiting for the end of the head."""
    door = intake()
    door.feed(start)
    with pytest.raises(Refused):
        door.next()


def test_endless_head_is_refused() -> None:
    """A head that does not end is refused with 431 at its limit."""
    door = intake()
    door.feed(b"GET / HTTP/1.1\r\nX: " + b"x" * _LIMITS.header_bytes)
    with pytest.raises(Refused) as caught:
        door.next()
    assert caught.value.status == 431


def test_continue_is_expected_only_without_the_body() -> None:
    """`100 Continue` is wanted when the body did not come along, and only then."""
    top = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    for body, expected in ((b"", True), (b"he", False)):
        door = intake()
        door.feed(top + body)
        assert [door.next(), door.next()] == [Step.HEAD, Step.MORE]
        assert door.expecting is expected
