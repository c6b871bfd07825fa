"""Request heads: bytes to `Head`, strictly (pure).

llhttp tokenises; it is strict about line ends, folding, control characters, duplicate or signed
content-length and content-length beside transfer-encoding. What it lets through and we do not is checked
here: HTTP/2.0, HTTP/0.9 and other protocols' names in the request line, extra spaces, fragments, raw
non-ASCII, transfer-coding in HTTP/1.0 or other than `chunked`, a missing or repeated Host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

from changeover.gateway.door.limits import Limits
from changeover.gateway.door.refusal import Refused, malformed

CHUNKED: Final = -1
"""`Head.length` of a chunked body."""

_LINE: Final = re.compile(rb"([A-Z]{1,20}) ([!-\"$-~]+) HTTP/([0-9])\.([0-9])")
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]+)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_CODINGS: Final = frozenset((b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"identity"))
CACHED_HEAD_BYTES: Final = 2048
_CACHED_HEADS: Final = 1024
_SECRET_FIELD: Final = b"\r\nauthorization:"
_SECRET: Final = re.compile(rb"[!-~]+(?: [!-~]+)*")


@dataclass(frozen=True, slots=True)
class Head:
    """A request head that passed every check.

    Attributes:
        method: as sent, upper case.
        path: percent-decoded, without the query.
        query: as sent, without the question mark.
        headers: lower-case names; values of repeated fields joined by `, `. Shared by requests with the
            same head: never modified.
        length: bytes of the body, 0 without one, `CHUNKED` when chunked.
        keep_alive: the client lets the connection be used again.
        legacy: HTTP/1.0.
        expects: the client waits for `100 Continue` before it sends the body.
    """

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    length: int
    keep_alive: bool
    legacy: bool
    expects: bool

    def authorized_by(self, value: bytes) -> Head:
        """The same head with this value of `authorization`."""
        return Head(
            self.method, self.path, self.query, {**self.headers, b"authorization": value},
            self.length, self.keep_alive, self.legacy, self.expects,
        )  # fmt: skip


class HeadCache:
    """Parsed heads by their bytes: a client's requests mostly repeat one head byte for byte.

    Heads with a token are known by what is left of them without it: no secret outlives its connection.
    """

    __slots__ = ("_limits", "known")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.known: dict[bytes, Head] = {}

    def parse(self, raw: bytes) -> Head:
        """Parse a head without its final empty line, and remember all of it but the value of `authorization`.

        Raises:
            Refused: with the status to answer.
        """
        if len(raw) > CACHED_HEAD_BYTES:
            return parse_head(raw, self._limits)
        lower = raw.lower()
        start = lower.find(_SECRET_FIELD) + len(_SECRET_FIELD)
        if start < len(_SECRET_FIELD):
            return self._remembered(raw)
        end = raw.find(b"\r\n", start)
        value = raw[start : end if end >= 0 else len(raw)].strip(b" \t")
        if lower.find(_SECRET_FIELD, start) >= 0 or not _SECRET.fullmatch(value):
            return parse_head(raw, self._limits)
        head = self._remembered(raw[:start] + (raw[end:] if end >= 0 else b""))
        return head.authorized_by(value)

    def _remembered(self, raw: bytes) -> Head:
        head = self.known.get(raw)
        if head is None:
            head = parse_head(raw, self._limits)
            if len(self.known) >= _CACHED_HEADS:
                self.known.clear()
            self.known[raw] = head
        return head


class _Fields:
    """Collects llhttp's callbacks."""

    __slots__ = ("complete", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_head(raw: bytes, limits: Limits) -> Head:
    """Parse request line and fields (`raw` ends before the final CRLF CRLF).

    Raises:
        Refused: 400, 413, 417, 431, 501 or 505.
    """
    if len(raw) > limits.header_bytes:
        raise Refused(431, "header_too_large", f"the head is over {limits.header_bytes} bytes")
    method, target, legacy = _request_line(raw)
    collected = _tokenise(raw)
    if len(collected.fields) > limits.header_fields:
        raise Refused(431, "header_too_large", f"more than {limits.header_fields} header fields")
    headers = _join(collected.fields)
    _check_host(collected.fields, legacy)
    path, query = _split_target(method, target)
    return Head(
        method=method.decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        length=_body_length(headers, legacy, limits),
        keep_alive=_keep_alive(headers, legacy),
        legacy=legacy,
        expects=_expects(headers, legacy),
    )


def _request_line(raw: bytes) -> tuple[bytes, bytes, bool]:
    line = raw.partition(b"\r\n")[0]
    match = _LINE.fullmatch(line)
    if match is None:
        raise malformed("the request line is not METHOD SP target SP HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise Refused(505, "http_version", "this port speaks HTTP/1.1 and HTTP/1.0")
    if method in (b"CONNECT", b"PRI"):
        raise Refused(501, "method_not_supported", f"{method.decode('ascii')} is not supported")
    return method, target, minor == b"0"


def _tokenise(raw: bytes) -> _Fields:
    collected = _Fields()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(raw + b"\r\n\r\n")
    except httptools.HttpParserUpgrade:
        pass  # an offer to upgrade is not taken up: answered as an ordinary request
    except httptools.HttpParserError as error:
        # Transfer-codings that do not end in chunked are refused after all fields were read: those that
        # exist get a status of their own.
        if collected.complete:
            _check_coding(b",".join(value for name, value in collected.fields if name == b"transfer-encoding"))
        raise malformed(f"not HTTP/1.1: {error}") from None
    return collected


def _join(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    return headers


def _check_host(fields: list[tuple[bytes, bytes]], legacy: bool) -> None:
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and not legacy):
        raise malformed("exactly one Host header is needed", "host_header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise malformed("the Host header is not a host", "host_header")


def _split_target(method: bytes, target: bytes) -> tuple[str, str]:
    if target == b"*" and method == b"OPTIONS":
        return "*", ""
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise malformed("the request target is not a path", "request_target")
        target = (absolute[2] or b"/") + (absolute[3] or b"")
    raw_path, _, query = target.partition(b"?")
    try:
        path = (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("the path is not UTF-8", "request_target") from None
    if "\x00" in path:
        raise malformed("the path has a NUL in it", "request_target")
    return path, query.decode("ascii")


def _check_coding(value: bytes) -> None:
    """Let a Transfer-Encoding of exactly `chunked` pass.

    Raises:
        Refused: 501 for codings that exist and are not done here, 400 for anything else.
    """
    codings = [coding.strip(b" \t") for coding in value.lower().split(b",")]
    if codings == [b"chunked"]:
        return
    rest = codings[:-1] if codings[-1] == b"chunked" else codings
    if all(coding in _CODINGS for coding in rest):
        raise Refused(501, "transfer_coding", "the only transfer-coding known here is chunked")
    raise malformed("Transfer-Encoding is not chunked", "transfer_coding")


def _body_length(headers: dict[bytes, bytes], legacy: bool, limits: Limits) -> int:
    coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
    if coding is not None:
        if legacy or length is not None:
            raise malformed("Transfer-Encoding beside Content-Length, or in HTTP/1.0", "transfer_coding")
        _check_coding(coding)
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:
        raise malformed("Content-Length is not a plain number", "content_length")
    if int(length) > limits.body_bytes:
        raise Refused(413, "too_large", f"the body is over {limits.body_bytes} bytes{limits.instead}")
    return int(length)


def _keep_alive(headers: dict[bytes, bytes], legacy: bool) -> bool:
    options = headers.get(b"connection")
    if options is None:
        return not legacy
    tokens = [token.strip() for token in options.lower().split(b",")]
    return b"close" not in tokens and (not legacy or b"keep-alive" in tokens)


def _expects(headers: dict[bytes, bytes], legacy: bool) -> bool:
    expectation = headers.get(b"expect")
    if expectation is None or legacy:
        return False
    if expectation.lower() != b"100-continue":
        raise Refused(417, "expectation", "the only expectation known here is 100-continue")
    return True
