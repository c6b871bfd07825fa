"""Heads: what is accepted, what is refused, and with which status."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.head import CHUNKED, Head, HeadCache, parse_head
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.refusal import Refused

_LIMITS = Limits()


def parse(*lines: bytes) -> Head:
    return parse_head(b"\r\n".join(lines), _LIMITS)


def refusal(*lines: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(*lines)
    return caught.value


def test_ordinary_request() -> None:
    """Method, decoded path, raw query and lower-case fields come out; repeated fields are joined."""
    head = parse(b"GET /a%20b/%C3%A9?x=%20 HTTP/1.1", b"HOST: h:1", b"X-A: 1", b"x-a:  2 ", b"Empty:", b"Z: z")
    assert (head.method, head.path, head.query) == ("GET", "/a b/é", "x=%20")
    assert head.headers == {b"host": b"h:1", b"x-a": b"1, 2", b"empty": b"", b"z": b"z"}
    assert (head.length, head.keep_alive, head.legacy, head.expects) == (0, True, False, False)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://other:81/p?q=1", "/p", "q=1"),
        (b"HTTP://other", "/", ""),
        (b"http://other?q", "/", "q"),
        (b"/?", "/", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"//double", "//double", ""),
    ],
)
def test_targets(target: bytes, path: str, query: str) -> None:
    """Origin form and absolute form both give a path and a query."""
    head = parse(b"GET " + target + b" HTTP/1.1", b"Host: h")
    assert (head.path, head.query) == (path, query)


def test_asterisk_is_for_options_only() -> None:
    """`OPTIONS *` is a target, `GET *` is none."""
    assert parse(b"OPTIONS * HTTP/1.1", b"Host: h").path == "*"
    assert refusal(b"GET * HTTP/1.1", b"Host: h").status == 400


_BAD_LINES = [
    b"GET  / HTTP/1.1",
    b"GET /  HTTP/1.1",
    b" GET / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET\t/ HTTP/1.1",
    b"get / HTTP/1.1",
    b"FOO / HTTP/1.1",
    b"G@T / HTTP/1.1",
    b"GET /",
    b"GET / http/1.1",
    b"GET / HTTP/1.10",
    b"DESCRIBE / RTSP/1.0",
    b"SOURCE / ICE/1.0",
    b"GET a HTTP/1.1",
    b"GET ftp://h/ HTTP/1.1",
    b"GET /\xff HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /%00 HTTP/1.1",
    b"GET /%ff HTTP/1.1",
    b"GET http:///x HTTP/1.1",
    b"GET http://u@h/ HTTP/1.1",
    b"",
]


@pytest.mark.parametrize("line", _BAD_LINES)
def test_bad_request_lines(line: bytes) -> None:
    """A request line that is not exactly METHOD SP target SP version is answered 400."""
    assert refusal(line, b"Host: h").status == 400


_BAD_FIELDS = [
    [b"Host : h"],
    [b"Host: h", b" folded"],
    [b"Host: h", b"X: 1", b"\tfolded"],
    [b" X: first", b"Host: h"],
    [b"Host: h\nX: bare"],
    [b"Host: h", b"X: a\rY: b"],
    [b"Host: h", b"X: a\x00b"],
    [b"Host: h", b"X: a\x01b"],
    [b"Host: h", b"X\x00: a"],
    [b"Host: h", b": nameless"],
    [b"Host: h", b"no colon"],
    [b"Host: h", b"X\xff: a"],
    [b"X: no host"],
    [b"Host: a", b"Host: a"],
    [b"Host: a b"],
    [b"Host: a/b"],
    [b"Host: h", b"Content-Length: +3"],
    [b"Host: h", b"Content-Length: -3"],
    [b"Host: h", b"Content-Length: 0x3"],
    [b"Host: h", b"Content-Length: 3 3"],
    [b"Host: h", b"Content-Length: 3,3"],
    [b"Host: h", b"Content-Length: 3, 4"],
    [b"Host: h", b"Content-Length:"],
    [b"Host: h", b"Content-Length: 3", b"Content-Length: 4"],
    [b"Host: h", b"Content-Length: 3", b"Content-Length: 3"],
    [b"Host: h", b"Content-Length: 99999999999999999999"],
    [b"Host: h", b"Content-Length: 3", b"Transfer-Encoding: chunked"],
    [b"Host: h", b"Transfer-Encoding: chunked", b"Content-Length: 3"],
    [b"Host: h", b"Transfer-Encoding: gzip", b"Content-Length: 3"],
    [b"Host: h", b"Transfer-Encoding: chunked, chunked"],
    [b"Host: h", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    [b"Host: h", b"Transfer-Encoding: xchunked"],
    [b"Host: h", b"Transfer-Encoding: chunkedx"],
    [b"Host: h", b"Transfer-Encoding: chunked;a=b"],
    [b"Host: h", b"Transfer-Encoding: \x0bchunked"],
    [b"Host: h", b"Transfer-Encoding: chunked, foo"],
    [b"Host: h", b"Transfer-Encoding:"],
    [b"Host: h", b"Transfer-Encoding : chunked"],
    [b"Host: h", b"Transfer-Encoding: \"chunked\""],
]  # fmt: skip


@pytest.mark.parametrize("fields", _BAD_FIELDS, ids=lambda fields: repr(fields[-1])[:40])
def test_bad_fields(fields: list[bytes]) -> None:
    """Every known way to smuggle a second request past a head is answered 400."""
    assert refusal(b"POST / HTTP/1.1", *fields).status == 400


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"deflate"])
def test_unknown_transfer_codings(coding: bytes) -> None:
    """A transfer-coding that exists, but is not done here, is answered 501."""
    assert refusal(b"POST / HTTP/1.1", b"Host: h", b"Transfer-Encoding: " + coding).status == 501


def test_transfer_encoding_needs_http_1_1() -> None:
    """A chunked body in HTTP/1.0 is read differently by different servers: 400."""
    assert refusal(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked").status == 400


@pytest.mark.parametrize("line", [b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"PRI * HTTP/2.0", b"GET / HTTP/1.2"])
def test_other_versions(line: bytes) -> None:
    """Another version of HTTP is answered 505."""
    assert refusal(line, b"Host: h").status == 505


def test_connect_is_not_done() -> None:
    """CONNECT is answered 501: this is no proxy."""
    assert refusal(b"CONNECT a:1 HTTP/1.1", b"Host: a:1").status == 501


def test_limits() -> None:
    """Too many bytes, too many fields and too large a body have statuses of their own."""
    assert refusal(b"GET / HTTP/1.1", b"Host: h", b"X: " + b"x" * 16400).status == 431
    assert refusal(b"GET / HTTP/1.1", b"Host: h", *[b"X: 1"] * 100).status == 431
    assert parse(b"GET / HTTP/1.1", b"Host: h", *[b"X: 1"] * 99).headers[b"x"].count(b"1") == 99
    assert refusal(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: %d" % (_LIMITS.body_bytes + 1)).status == 413
    assert parse(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: %d" % _LIMITS.body_bytes).length == 64 << 20


def test_body_lengths() -> None:
    """Content-Length and chunked are told apart, upper case and surrounding blanks included."""
    assert parse(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: \t3 ").length == 3
    assert parse(b"POST / HTTP/1.1", b"Host: h", b"Transfer-Encoding: Chunked ").length == CHUNKED


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close", False),
        (b"1.1", b"Connection: keep-alive, Close", False),
        (b"1.1", b"Connection: TE", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive", True),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, kept: bool) -> None:
    """The connection's future follows version and Connection header."""
    fields = [b"Host: h", connection] if connection else [b"Host: h"]
    assert parse(b"GET / HTTP/" + version, *fields).keep_alive is kept


def test_upgrade_is_ignored() -> None:
    """Offers of h2c and websocket are parsed as ordinary requests, with their body."""
    offer = [b"Host: h", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"]
    assert parse(b"POST / HTTP/1.1", *offer, b"Content-Length: 3").length == 3
    assert parse(b"GET /chat HTTP/1.1", b"Host: h", b"Connection: Upgrade", b"Upgrade: websocket").keep_alive


def test_expectations() -> None:
    """100-continue is understood in 1.1 and ignored in 1.0; anything else is answered 417."""
    assert parse(b"POST / HTTP/1.1", b"Host: h", b"Expect: 100-Continue", b"Content-Length: 1").expects
    assert not parse(b"POST / HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 1").expects
    assert refusal(b"POST / HTTP/1.1", b"Host: h", b"Expect: a-miracle").status == 417


def test_cache_is_bounded_and_returns_the_same_head() -> None:
    """A repeated head is parsed once; the cache never holds more than its share, nor long heads."""
    cache = HeadCache(_LIMITS)
    first = cache.parse(b"GET / HTTP/1.1\r\nHost: h")
    assert cache.known[b"GET / HTTP/1.1\r\nHost: h"] is first
    for number in range(3000):
        cache.parse(b"GET /%d HTTP/1.1\r\nHost: h" % number)
    assert len(cache.known) <= 1024
    long = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 3000
    cache.parse(long)
    assert long not in cache.known


@pytest.mark.parametrize("name", [b"Authorization", b"authorization", b"AUTHORIZATION"])
@pytest.mark.parametrize("last", [True, False])
def test_cache_keeps_no_token(name: bytes, last: bool) -> None:
    """A head with a token comes out whole, is found again with another one, and leaves no word of either behind."""
    cache = HeadCache(_LIMITS)
    for secret in (b"Bearer first-0123456789", b"Bearer  second", b"Bearer third-0123456789"):
        fields = [b"Host: h", name + b": \t" + secret + b" "]
        raw = b"\r\n".join([b"GET /p?q HTTP/1.1", *(fields if last else reversed(fields))])
        assert cache.parse(raw) == parse_head(raw, _LIMITS)
        assert cache.parse(raw).headers[b"authorization"] == secret
        assert secret not in repr(cache.known).encode()
    assert [head.headers[b"authorization"] for head in cache.known.values()] == [b""]


@pytest.mark.parametrize(
    "fields",
    [
        [b"Authorization: Bearer one", b"authorization: Bearer two"],
        [b"Authorization: Bearer \xc3\xa9"],
        [b"Authorization: "],
        [b"Authorization: Bearer a\x00b"],
        [b"Authorization: Bearer a", b" folded"],
        [b"Authorization: Bearer a\nX: b"],
        [b"Authorization : Bearer a"],
        [b"X: authorization:", b"Authorization: Bearer a"],
        *[[b"X: 1"] * count + [b"Authorization: Bearer a"] for count in (98, 99)],
    ],
    ids=lambda fields: repr(fields[-1])[:40],
)
def test_cache_is_as_strict_with_a_token_as_without(fields: list[bytes]) -> None:
    """The first time and every later one, a head with that field is what it is to the parser."""
    cache, raw = HeadCache(_LIMITS), b"\r\n".join([b"GET / HTTP/1.1", b"Host: h", *fields])

    def outcome(parse_it: Callable[[], Head]) -> Head | int:
        try:
            return parse_it()
        except Refused as refused:
            return refused.status

    expected = outcome(lambda: parse_head(raw, _LIMITS))
    assert [outcome(lambda: cache.parse(raw)) for _ in range(2)] == [expected] * 2
    assert b"Bearer" not in repr(cache.known).encode()


_TOKEN = st.text("abcXYZ-_09", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in ("host", "te", "expect", "connection", "upgrade")
)
_VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)


@given(st.lists(st.tuples(_TOKEN, _VALUE), max_size=20), st.text("ab/%.~ é", max_size=20))
def test_fields_survive(fields: list[tuple[str, str]], tail: str) -> None:
    """Any legal fields and path come out as they went in."""
    path = "/" + tail
    lines = [f"{name}: {value}".encode("latin-1") for name, value in fields]
    head = parse(b"GET " + quote(path).encode() + b" HTTP/1.1", b"Host: h", *lines)
    expected: dict[bytes, bytes] = {b"host": b"h"}
    for name, value in fields:
        key, encoded = name.lower().encode(), value.encode("latin-1")
        expected[key] = expected[key] + b", " + encoded if key in expected else encoded
    assert head.headers == expected
    assert head.path == path


@given(st.binary(max_size=200))
def test_garbage_never_escapes(junk: bytes) -> None:
    """Whatever the bytes, the result is a head or a refusal, never another error."""
    for raw in (junk, b"GET / HTTP/1.1\r\nHost: h\r\n" + junk, b"POST " + junk + b" HTTP/1.1\r\nHost: h"):
        try:
            outcome = 200 if parse_head(raw, _LIMITS).length >= CHUNKED else 0
        except Refused as refused:
            outcome = refused.status
        assert outcome in (200, 400, 413, 417, 431, 501, 505)
