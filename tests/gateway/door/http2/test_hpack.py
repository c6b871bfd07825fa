"""Header compression, with the `hpack` package as the oracle."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.http2.frames import Broken, Code
from changeover.gateway.door.http2.hpack import Decoder, Field, encode
from tests.needed import needed

LIMIT = 16 * 1024
FIELDS = st.lists(
    st.tuples(st.sampled_from([b"a", b"grpc-timeout", b":path", b"content-type", b"x" * 130]), st.binary(max_size=60)),
    max_size=8,
)


def test_examples_of_the_standard() -> None:
    """RFC 7541, appendix C.4: three requests on one connection, with Huffman codes."""
    decoder = Decoder(LIMIT)
    first = decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
    assert first == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    ]
    assert decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf"))[-2:] == [
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ]
    third = decoder.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third[-2:] == [(b":authority", b"www.example.com"), (b"custom-key", b"custom-value")]
    assert decoder.changes == 3


@given(st.lists(FIELDS, max_size=6), st.booleans())
def test_what_the_oracle_encodes_is_decoded(lists: list[list[Field]], coded: bool) -> None:
    """Blocks of one connection, in their order, with and without Huffman codes."""
    encoder, decoder = needed("hpack").Encoder(), Decoder(1 << 20)
    for fields in lists:
        assert decoder.decode(encoder.encode(fields, huffman=coded)) == fields


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_mean_what_the_oracle_says(blocks: list[bytes]) -> None:
    """Arbitrary blocks of one connection: the same fields, or an error here too."""
    oracle, decoder = needed("hpack").Decoder(LIMIT), Decoder(LIMIT)
    for block in blocks:
        try:
            expected = [tuple(field) for field in oracle.decode(block, raw=True)]
        except Exception:  # noqa: BLE001  (its own errors and, on some input, IndexError)
            with contextlib.suppress(Broken):
                decoder.decode(block)
            return
        try:
            assert decoder.decode(block) == expected
        except Broken:
            # Stricter in two places: integers over 28 bits, and more than two changes of the table's size.
            assert _strict(block)
            return


def _strict(block: bytes) -> bool:
    return sum(0x20 <= byte < 0x40 for byte in block) > 2 or any(byte >= 0x80 for byte in block)


@given(FIELDS)
def test_what_is_encoded_is_decoded(fields: list[Field]) -> None:
    """The door's own blocks, which change no table."""
    decoder = Decoder(1 << 20)
    assert decoder.decode(encode(fields)) == fields
    assert decoder.changes == 0


@pytest.mark.parametrize("text", ["80", "ff", "be", "4005ab", "3fe21f", "82203f", "40", "7fffffffffff7f", "0083ffffff"])
def test_broken_blocks_are_refused(text: str) -> None:
    """Index 0, cut integers, no such entry, a cut text, a table over its limit, a late resize, endless integers."""
    with pytest.raises(Broken) as caught:
        Decoder(LIMIT).decode(bytes.fromhex(text))
    assert caught.value.code is Code.COMPRESSION_ERROR


def test_many_resizes_are_refused() -> None:
    """Two changes of the table's size may stand before a block's fields; a third is somebody's game."""
    assert Decoder(LIMIT).decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
    with pytest.raises(Broken):
        Decoder(LIMIT).decode(b"\x20\x20\x20\x82")


def test_a_bomb_stops_at_the_limit() -> None:
    """An entry of 4 KB referred to again and again ends at the limit of the list, not after megabytes."""
    decoder = Decoder(LIMIT)
    entry = b"\x40\x01x" + encode([(b"", b"v" * 3900)])[2:]
    assert len(decoder.decode(entry + b"\xbe" * 3)) == 4
    with pytest.raises(Broken) as caught:
        decoder.decode(b"\xbe" * 5)
    assert caught.value.code is Code.ENHANCE_YOUR_CALM


def test_the_table_evicts_the_oldest() -> None:
    """The table holds 4,096 bytes; what does not fit any more has no index."""
    decoder = Decoder(1 << 20)
    for number in range(3):
        decoder.decode(b"\x40\x01%d" % number + encode([(b"", b"v" * 1900)])[2:])
    assert decoder.decode(b"\xbe\xbf") == [(b"2", b"v" * 1900), (b"1", b"v" * 1900)]
    with pytest.raises(Broken):
        decoder.decode(b"\xc0")
