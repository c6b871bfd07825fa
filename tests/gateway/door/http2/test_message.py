"""A call's one message out of DATA."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.http2.fields import Refused, Status
from changeover.gateway.door.http2.message import Message, prefix, whole

LIMIT = 1000


def _take(raw: bytes, step: int) -> None:
    """In one piece, or in pieces of `step` bytes."""
    if not step:
        whole(raw, LIMIT)
        return
    message = Message(LIMIT)
    for at in range(0, len(raw), step):
        message.feed(raw[at : at + step])
    message.end()


def test_a_message_knows_what_it_wants() -> None:
    """First its prefix, then what that announces, then nothing."""
    message = Message(LIMIT)
    wanted = [message.wanted]
    for part in (b"\0\0", b"\0\0\3", b"ab", b"c"):
        message.feed(part)
        wanted.append(message.wanted)
    assert wanted == [5, 3, 3, 1, 0]


def test_a_message_in_one_piece() -> None:
    """Its bytes without the prefix, of bytes and of a view."""
    raw = prefix(3) + b"abc"
    assert bytes(whole(raw, LIMIT)) == b"abc"
    assert bytes(whole(memoryview(raw), LIMIT)) == b"abc"
    assert bytes(whole(prefix(0), LIMIT)) == b""


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (b"", Status.UNIMPLEMENTED, "missing_message"),
        (b"\0\0", Status.INTERNAL, "truncated_message"),
        (prefix(4) + b"abc", Status.INTERNAL, "truncated_message"),
        (prefix(2) + b"abc", Status.UNIMPLEMENTED, "several_messages"),
        (b"\1" + prefix(3)[1:] + b"abc", Status.INTERNAL, "compressed_message"),
        (b"\2" + prefix(3)[1:] + b"abc", Status.INTERNAL, "compressed_message"),
        (prefix(LIMIT + 1) + bytes(LIMIT + 1), Status.RESOURCE_EXHAUSTED, "too_large"),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_what_is_no_message_is_refused(raw: bytes, status: Status, reason: str, step: int) -> None:
    """In one piece and in several, with the same words."""
    with pytest.raises(Refused) as caught:
        _take(raw, step)
    assert (caught.value.status, caught.value.reason) == (status, reason)


@pytest.mark.parametrize("step", [0, 1])
def test_a_packed_message_is_known_by_its_first_byte(step: int) -> None:
    """In a coding that is known; in another it is refused as soon as its length is there."""
    raw = b"\1" + prefix(3)[1:] + b"abc"
    for coding in (b"gzip", b"deflate"):
        message = Message(LIMIT, coding)
        message.feed(raw)
        assert message.packed
        assert bytes(whole(raw, LIMIT, coding)) == b"abc"
    with pytest.raises(Refused) as caught:
        Message(LIMIT, b"br").feed(raw[:5]) if step else whole(raw, LIMIT, b"br")
    assert (caught.value.status, caught.value.reason) == (Status.UNIMPLEMENTED, "unknown_content_encoding")
    plain = Message(LIMIT, b"br")
    plain.feed(prefix(3) + b"abc")
    assert not plain.packed, "a message that is not packed is as good under any name"


@given(st.binary(max_size=LIMIT), st.lists(st.integers(0, LIMIT + 5), max_size=8), st.integers(0, 8))
def test_pieces_make_the_message(body: bytes, cuts: list[int], granted_at: int) -> None:
    """Cut anywhere, and given its place before, between or after the pieces."""
    raw = prefix(len(body)) + body
    message, at = Message(LIMIT), 0
    for number, cut in enumerate([*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]):
        message.feed(raw[at:cut])
        at = cut
        if number >= granted_at and message.size >= 0 and not message.granted:
            message.grant()
    message.end()
    if not message.granted:
        message.grant()
    assert bytes(message.view()) == body
    assert (message.lacking, message.received) == (0, len(body))


def test_what_is_missing_is_known_from_the_prefix() -> None:
    """So that the window is opened by that much and no more."""
    message = Message(LIMIT)
    message.feed(prefix(600) + bytes(100))
    assert (message.size, message.received, message.lacking) == (600, 100, 500)
    assert len(message.view()) == 0
