"""JSON text to values: the limit of its depth, its parser, and the way round the parser for repeated text.

Requests for one model differ in their data and in little else. `cut_array` takes the data out, so that the rest
can be recognised and need not be looked at again.
"""

from __future__ import annotations

import numpy as np
import orjson
import simdjson

from changeover.errors import InvalidRequest
from changeover.protocol.oip import MAX_DEPTH

CUT_OUT = "\0array"  # stands in a skeleton for the array that was there

_STEPS = np.zeros(256, np.int8)  # what a character does to the depth
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_SCAN = 1 << 16  # bytes looked at together, so that the work fits the cache
_SECOND_LOOK = 8 << 20  # bytes: plain Python objects take up to 25 times the memory of the text
_DATA = b'"data":'
_CUT_OUT = orjson.dumps(CUT_OUT)


def cut_array(text: bytes) -> tuple[bytes, bytes] | None:
    """Take the array of the first `data` member out of a JSON text, without parsing it.

    If the array is valid JSON, and the skeleton too, then so is the whole, and means the same: the array begins
    where a value begins, for the quotes round `data` cannot both be inside a string.

    Returns:
        The skeleton, with `CUT_OUT` in the array's place and nowhere else, and the array; None when there is no
        array of a plain form.
    """
    at = text.find(_DATA)
    if at < 0:
        return None
    start = at + len(_DATA)
    if text[start : start + 1] == b" ":
        start += 1
    rank = 0
    while text[start + rank : start + rank + 1] == b"[":
        rank += 1
    if rank == 0 or rank > MAX_DEPTH:
        return None
    # The end of a nested array is looked for from behind, where it is; a wrong guess makes no valid JSON.
    end = text.find(b"]", start) + 1 if rank == 1 else text.rfind(b"]" * rank, start) + rank
    if end <= start + rank:
        return None
    skeleton = text[:start] + _CUT_OUT + text[end:]
    if skeleton.count(b"\\u") > 1:  # the only way to write the zero character, and so `CUT_OUT`, in JSON
        return None
    return skeleton, text[start:end]


def check_depth(text: bytes, limit: int = MAX_DEPTH) -> None:
    """Refuse JSON nested deeper than `limit`, without parsing it.

    Raises:
        InvalidRequest: `json_too_deep`.
    """
    if _few_brackets(text, limit):
        return
    if b"\\" in text:  # what is left of escapes must not look like the end of a string
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    characters, depth, quotes = np.frombuffer(text, np.uint8), 0, 0
    for start in range(0, len(characters), _SCAN):
        part = characters[start : start + _SCAN]
        quoted = np.flatnonzero(part == ord('"'))
        brackets = np.flatnonzero((part & 0xD9) == 0x59)  # [ ] { } and, without effect, Y _ y DEL
        outside = (quotes + np.searchsorted(quoted, brackets)) & 1 == 0
        levels = depth + np.cumsum(_STEPS[part[brackets[outside]]], dtype=np.int64)
        if len(levels):
            if levels.max() > limit:
                raise InvalidRequest(f"the JSON is nested deeper than {limit}", reason="json_too_deep")
            depth = int(levels[-1])
        quotes += len(quoted)


def _few_brackets(text: bytes, left: int) -> bool:
    """Whether there are too few opening brackets to be too deep, as in most requests (0.1 µs for each)."""
    for bracket in (b"[", b"{"):
        at = text.find(bracket)
        while at >= 0:
            if left == 0:
                return False
            left -= 1
            at = text.find(bracket, at + 1)
    return True


def load(text: bytes, depth: int = MAX_DEPTH) -> object:
    """Parse, at most `depth` deep, into values that stay in the parser until they are looked at.

    The parser is made afresh (70 ns): one that is kept refuses to work while anything, be it a traceback, still
    holds a part of its last document, and keeps the memory of the largest one.

    Returns:
        A scalar, or a list or an object: simdjson's own or, where it gave up, Python's.

    Raises:
        InvalidRequest: `malformed_json` or `json_too_deep`.
    """
    check_depth(text, depth)
    try:
        return simdjson.Parser().parse(text)
    except (ValueError, RuntimeError) as error:
        if len(text) > _SECOND_LOOK:
            raise InvalidRequest(f"the request is not JSON: {error}", reason="malformed_json") from None
    try:  # orjson takes integers over 64 bits, as floats, and tells where an error is
        return orjson.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"the request is not JSON: {error}", reason="malformed_json") from None
