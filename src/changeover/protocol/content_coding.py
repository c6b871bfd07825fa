"""HTTP bodies that were packed by the client (RFC 9110, section 8.4). Pure."""

from __future__ import annotations

import zlib
from typing import Final

from changeover.errors import InvalidRequest, TooLarge

CODINGS: Final = (b"gzip", b"deflate")
_ZLIB_OR_GZIP: Final = 47
"""Either container, told by its first bytes: `deflate` is the zlib format, and old clients say one for the other."""


def unpacked(body: memoryview, coding: bytes, most: int) -> memoryview:
    """The body as it was before it was packed.

    Args:
        body: as it came, whole.
        coding: of the field `content-encoding`.
        most: bytes it may have; no more than that is ever unpacked.

    Raises:
        InvalidRequest: another coding (`unknown_content_encoding`), or not that (`malformed_content_encoding`).
        TooLarge: it has more bytes (`too_large`).
    """
    name = coding.strip().lower()
    if name == b"identity":
        return body
    if name not in CODINGS:
        told = name[:60].decode("latin-1")
        raise InvalidRequest(
            f"content-encoding {told!r} is not taken here; send gzip, deflate or the body as it is",
            reason="unknown_content_encoding",
        )
    unpacking = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        found = unpacking.decompress(body, most + 1)
    except zlib.error as error:
        raise _malformed(name, str(error)) from None
    if len(found) > most:
        raise TooLarge(f"the body has over {most} bytes once it is unpacked")
    if not unpacking.eof:
        raise _malformed(name, "it ends too early")
    if unpacking.unused_data:
        raise _malformed(name, "there is more behind its end")
    return memoryview(found)


def _malformed(name: bytes, why: str) -> InvalidRequest:
    return InvalidRequest(f"the body is no {name.decode()}: {why}", reason="malformed_content_encoding")
