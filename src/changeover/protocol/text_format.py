"""Protocol buffers' text format, as `config.pbtxt` is written in: text to a tree with line numbers. Pure.

Fields are `name: value`, `name { … }`, `name < … >` and `name: [ … ]`, with `,` or `;` between them or not, and `#` for
comments. Which fields there are is `model_config.py`'s to know. Extensions (`[a.b]`) are refused.
Source: "Text Format Language Specification" of protobuf.dev.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from changeover.errors import InvalidPlan

_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\f\v]+|\#[^\n]*)|(?P<newline>\n)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<number>-?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?))
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}\[\]<>:,;-])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_SHORT: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CLOSES: Final = {"{": "}", "<": ">"}
_MAX_DEPTH: Final = 32
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Word:
    """A name where a value stands: `true`, or a member of an enumeration."""

    text: str


Scalar = str | int | float | Word
"""A quoted text, a number, or a word."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; a list stands as one field for each of its elements.

    Attributes:
        value: a scalar, or the fields of a message.
        line: where its name, or the element, stands.
        listed: it stood in brackets.
    """

    name: str
    value: Scalar | tuple[Field, ...]
    line: int
    listed: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str, name: str) -> tuple[Field, ...]:
    """The fields of a text.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        InvalidPlan: `invalid_config`: file, line, and what is wrong there.
    """
    return _Parser(_tokens(text, name), name).fields(None, 0)


def refused(name: str, line: int, what: str) -> InvalidPlan:
    """The error for one line of a file."""
    return InvalidPlan(f"{name} line {line}: {what}.", reason="invalid_config")


def _tokens(text: str, name: str) -> list[_Token]:
    found: list[_Token] = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise refused(name, line, f"{text[at : at + 1]!r} does not belong here, or a quoted text has no end")
        kind = str(match.lastgroup)
        if kind == "newline":
            line += 1
        elif kind != "blank":
            found.append(_Token(kind, match[0], line))
        at = match.end()
    found.append(_Token("end", "the end of the file", line))
    return found


class _Parser:
    def __init__(self, tokens: list[_Token], name: str) -> None:
        self._tokens = tokens
        self._name = name
        self._at = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _skip(self, *marks: str) -> bool:
        if self._next.kind == "mark" and self._next.text in marks:
            self._at += 1
            return True
        return False

    def _expected(self, what: str) -> InvalidPlan:
        return refused(self._name, self._next.line, f"expected {what}, found {self._next.text[:_SHOWN]}")

    def fields(self, close: str | None, depth: int) -> tuple[Field, ...]:
        """All fields up to the closing mark, or to the end of the text."""
        if depth > _MAX_DEPTH:
            raise refused(self._name, self._next.line, f"nested deeper than {_MAX_DEPTH} messages")
        found: list[Field] = []
        while True:
            if close is None and self._next.kind == "end":
                return tuple(found)
            if close is not None and self._skip(close):
                return tuple(found)
            if self._next.kind != "name":
                raise self._expected("the name of a field" + (f" or {close}" if close else ""))
            found += self._field(self._take(), depth)
            self._skip(",", ";")

    def _field(self, name: _Token, depth: int) -> list[Field]:
        colon = self._skip(":")
        if not self._skip("["):
            if not colon and self._next.text not in _CLOSES:
                raise self._expected(f": or {{ after {name.text}")
            return [Field(name.text, self._value(depth), name.line)]
        found: list[Field] = []
        while not self._skip("]"):
            line = self._next.line
            found.append(Field(name.text, self._value(depth), line, listed=True))
            if not self._skip(",") and self._next.text != "]":
                raise self._expected(", or ]")
        return found

    def _value(self, depth: int) -> Scalar | tuple[Field, ...]:
        for opening, close in _CLOSES.items():
            if self._skip(opening):
                return self.fields(close, depth + 1)
        if self._next.kind == "string":
            parts = []
            while self._next.kind == "string":
                parts.append(self._unquoted(self._take()))
            return "".join(parts)
        minus = self._skip("-")
        if self._next.kind == "number":
            token = self._take()
            try:
                number = _number(token.text)
            except ValueError:  # int() of over 4,300 digits
                raise refused(self._name, token.line, "a number of too many digits") from None
            return -number if minus else number
        if self._next.kind == "name" and not minus:
            return Word(self._take().text)
        raise self._expected("a value")

    def _unquoted(self, token: _Token) -> str:
        """Escapes name bytes, which together are UTF-8."""
        raw = bytearray()
        at, text = 0, token.text[1:-1]
        for escape in _ESCAPE.finditer(text):
            raw += text[at : escape.start()].encode()
            octal, hexadecimal, other = escape.groups()
            if other is None:
                raw.append(int(octal or hexadecimal, 8 if octal else 16) & 0xFF)
            else:
                raw += _SHORT.get(other, other).encode()
            at = escape.end()
        raw += text[at:].encode()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise refused(self._name, token.line, "a quoted text is not UTF-8") from None


def _number(text: str) -> int | float:
    body = text.lstrip("-")
    sign = -1 if text.startswith("-") else 1
    if body[:2] in ("0x", "0X"):
        return sign * int(body, 16)
    if body.isdigit():
        octal = len(body) > 1 and body[0] == "0" and not set(body) & {"8", "9"}
        return sign * int(body, 8 if octal else 10)
    return sign * float(body.rstrip("fF"))
