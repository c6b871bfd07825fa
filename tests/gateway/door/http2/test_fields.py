"""What a client may send as the fields of a call, and what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.http2 import fields
from changeover.gateway.door.http2.fields import HeadReader, Malformed, Status
from changeover.gateway.door.http2.frames import Broken
from changeover.gateway.door.http2.hpack import Decoder, Field, encode

TOP: list[Field] = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C")]
GRPC: Field = (b"content-type", b"application/grpc")


def read(*more: Field) -> fields.Head:
    return HeadReader(16_384).read(encode([*TOP, GRPC, *more]))


def test_a_call() -> None:
    """Path, fields, time and type of a usual call; repeated fields are joined."""
    head = read((b"te", b"trailers"), (b"grpc-timeout", b"250m"), (b"x", b"1"), (b"x", b"2"))
    assert (head.method, head.path, head.timeout, head.grpc) == (b"POST", "/a.B/C", 0.25, True)
    assert head.headers[b"x"] == b"1, 2"
    assert b":path" not in head.headers


@pytest.mark.parametrize(("text", "seconds"), [(b"2H", 7200), (b"3M", 180), (b"7S", 7), (b"8u", 8e-6), (b"9n", 9e-9)])
def test_units_of_a_timeout(text: bytes, seconds: float) -> None:
    """Hours to nanoseconds, as gRPC writes them."""
    assert read((b"grpc-timeout", text)).timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        (b"Upper", b"x"), (b"bad name", b"x"), (b"", b"x"), (b"connection", b"close"), (b"te", b"gzip"),
        (b"transfer-encoding", b"chunked"), (b"x", b"a\r\nb"), (b"x", b"\0"), (b":path", b"/late"),
        (b":status", b"200"),
        (b"grpc-timeout", b"1"), (b"grpc-timeout", b"123456789S"), (b"grpc-timeout", b"-1S"),
    ],
)  # fmt: skip
def test_malformed_fields(wrong: Field) -> None:
    """Upper case, HTTP/1.1's own fields, control characters, late pseudo-fields, times that are none."""
    with pytest.raises(Malformed):
        read(wrong)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_pseudo_fields(missing: int) -> None:
    """Method, scheme and path have to be there."""
    with pytest.raises(Malformed):
        HeadReader(16_384).read(encode([*TOP[:missing], *TOP[missing + 1 :], GRPC]))


@pytest.mark.parametrize(
    ("kind", "grpc"),
    [
        (b"application/grpc+proto", True), (b"application/grpc;x=y", True), (b"application/grpc-web", False),
        (b"application/json", False), (b"", False),
    ],
)  # fmt: skip
def test_content_types(kind: bytes, grpc: bool) -> None:
    """What counts as gRPC."""
    assert HeadReader(16_384).read(encode([*TOP, (b"content-type", kind)])).grpc is grpc


def test_a_block_seen_before_is_the_same_head_until_the_table_changes() -> None:
    """The same bytes are not decoded again; they are when an entry of the table has moved under them."""
    reader = HeadReader(16_384)
    indexed = encode([*TOP, GRPC]) + b"\xbe"
    reader.read(encode([*TOP, GRPC]) + b"\x40\x01x\x01a")
    first = reader.read(indexed)
    assert reader.read(indexed) is first
    assert first.headers[b"x"] == b"a"
    reader.skip(b"\x40\x01x\x01b")
    assert reader.read(indexed).headers[b"x"] == b"b"


def test_blocks_that_nobody_wants_keep_the_table_right() -> None:
    """Skipping decodes, and so raises what decoding raises."""
    reader = HeadReader(16_384)
    with pytest.raises(Broken):
        reader.skip(b"\xbe")


def test_kept_heads_are_bounded() -> None:
    """Blocks that never come again do not gather."""
    reader = HeadReader(16_384)
    for number in range(1000):
        reader.read(encode([*TOP, GRPC, (b"x", b"%d" % number)]))
    assert len(reader._known) <= 64


def test_large_heads_are_not_kept() -> None:
    """A few bytes can stand for many: an entry of the table, again and again."""
    reader = HeadReader(16_384)
    reader.read(encode([*TOP, GRPC]) + b"\x40\x01x" + b"\x7f\xd1\x0e" + bytes([120]) * 2000)
    block = encode([*TOP, GRPC]) + b"\xbe" * 5
    head = reader.read(block)
    assert head.size == 5 * 2033 + sum(len(name) + len(value) + 32 for name, value in [*TOP, GRPC])
    assert reader.read(block) is not head


@given(st.text(max_size=80))
def test_status_messages_are_printable_and_come_back(message: str) -> None:
    """Percent-encoding as gRPC has it: printable ASCII, and the text again when decoded."""
    coded = fields.percent_encoded(message)
    assert all(0x20 <= byte <= 0x7E for byte in coded)
    out, at = bytearray(), 0
    while at < len(coded):
        out += bytes((int(coded[at + 1 : at + 3], 16),)) if coded[at] == 0x25 else coded[at : at + 1]
        at += 3 if coded[at] == 0x25 else 1
    assert out == message.encode("utf-8", "replace")


def test_a_long_status_message_is_cut() -> None:
    """An answer's last fields fit a frame."""
    assert len(fields.tail(Status.INTERNAL, "x" * 100_000)) < 3000


def test_blocks_of_answers() -> None:
    """As a client decodes them."""
    taken = (b"grpc-accept-encoding", b"identity, deflate, gzip")
    assert Decoder(16_384).decode(fields.HEAD) == [(b":status", b"200"), GRPC, taken]
    assert Decoder(16_384).decode(fields.tail(Status.NOT_FOUND, "a%b")) == [
        (b"grpc-status", b"5"),
        (b"grpc-message", b"a%25b"),
    ]
    assert Decoder(16_384).decode(fields.reason_field("too_large")) == [(b"changeover-reason", b"too_large")]
    assert fields.overloaded().status is Status.UNAVAILABLE
