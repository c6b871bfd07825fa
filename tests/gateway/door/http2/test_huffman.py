"""The Huffman code of HPACK."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.http2 import huffman


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("25a849e95bb8e8b4bf", b"custom-value"),
        ("", b""),
    ],
)
def test_examples_of_the_standard(coded: str, text: bytes) -> None:
    """RFC 7541, appendix C.4."""
    assert huffman.decode(bytes.fromhex(coded)) == text


@pytest.mark.parametrize("coded", ["ff", "f8ff", "1c", "ffffffff", "00"])
def test_wrong_codes_are_refused(coded: str) -> None:
    """Eight bits of padding, padding with a zero in it, a symbol that is cut off, the end mark."""
    with pytest.raises(huffman.NotHuffman):
        huffman.decode(bytes.fromhex(coded))


@given(st.binary(max_size=64))
def test_any_bytes_give_a_text_or_the_one_error(data: bytes) -> None:
    """Whatever comes: at most one symbol for five bits, or NotHuffman."""
    try:
        text = huffman.decode(data)
    except huffman.NotHuffman:
        return
    assert len(text) <= len(data) * 8 // 5
