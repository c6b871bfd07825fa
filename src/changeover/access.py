"""Who may do what: scopes, the token file, and the check that every route of both ports goes through.

A token file has one token a line, `SCOPE[,SCOPE] TOKEN [NAME]`; empty lines and lines that begin with `#` are skipped:

```
# for the deployment job and for the shop
admin        u0c7Hh3S5mX2bYvQ1rK8  deploy
infer        Zq4tW9eF7nB6dLs2pR5x  shop
infer,admin  Jk1vC3xM8aT5yNg7wE0o
read         Pw6rT2yU9iO4aS7dF1gH  wall-display
```

Scopes do not include each other, but that who may `admin` may `read` too. Tokens are kept as SHA-256 digests only, and
no sentence of this file ever repeats a word of the token file. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from changeover.errors import Forbidden, InvalidRequest, Unauthenticated

LEAST_TOKEN: Final = 16
"""Characters of a token: fewer can be guessed."""
_MOST_TOKEN: Final = 512
_MOST_BYTES: Final = 1 << 20
_LOOK_SECONDS: Final = 1.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SCHEME: Final = b"bearer "
log = logging.getLogger("changeover.access")


class Scope(StrEnum):
    """What a route asks of its caller, and what a token may do."""

    OPEN = "open"
    """Of routes only: anybody may ask (health)."""
    READ = "read"
    """Looking at the control port."""
    INFER = "infer"
    ADMIN = "admin"


class Entry(NamedTuple):
    """A line of a token file, with the secret: nothing that lives longer than the reading of the file."""

    line: int
    scopes: frozenset[Scope]
    secret: str
    name: str


@dataclass(frozen=True, slots=True)
class Token:
    """A known token; `name` is for sentences, `line 3` when the file gives none."""

    digest: bytes
    scopes: frozenset[Scope]
    name: str


def parse_tokens(text: str, source: str) -> tuple[Token, ...]:
    """The tokens of a file (pure).

    Raises:
        InvalidRequest: the first line that is wrong, by its number (reason `token_file_invalid`).
    """
    return tuple(Token(_digest(e.secret.encode()), e.scopes, e.name) for e in _entries(text, source))


def read_tokens(path: str) -> tuple[Token, ...]:
    """Read a token file that nobody but its owner can read.

    Raises:
        InvalidRequest: it cannot be read, others can read it, or a line is wrong (reasons `token_file_unreadable`,
            `token_file_exposed`, `token_file_invalid`).
    """
    return parse_tokens(_private_text(path), path)


def read_secret(path: str, scope: Scope) -> str:
    """The first token of a file that may do what a scope asks: what a client sends.

    Raises:
        InvalidRequest: as `read_tokens`, or no token has the scope (reason `token_file_invalid`).
    """
    for entry in _entries(_private_text(path), path):
        if scope in _with_reading(entry.scopes):
            return entry.secret
    raise _invalid(f"{path} holds no token with the scope {scope}")


class Guard:
    """Lets a request pass or says why not. One a port and process; it follows changes of the token file by itself.

    Args:
        path: the token file; None where only certificates count.
        certified: scopes of a connection whose client certificate was verified.
    """

    def __init__(self, path: str | None, certified: frozenset[Scope]) -> None:
        self._file = None if path is None else _TokenFile(path)
        self._certified = certified

    def check(self, scope: Scope, authorization: bytes | None, certified: bool) -> str | None:
        """Return when the caller may use a route: the name of its token, or None where none was needed.

        Args:
            scope: of the route.
            authorization: the value of that header, if there was one.
            certified: the connection has a verified client certificate.

        Raises:
            Unauthenticated: nobody known asks, and the route is not open.
            Forbidden: the token is known and lacks the scope.
        """
        if scope is Scope.OPEN or (certified and scope in _with_reading(self._certified)):
            return None
        token = self._known(authorization)
        if token is not None and scope in _with_reading(token.scopes):
            return token.name
        if token is not None:
            raise Forbidden(f"the token {token.name!r} has the scope {_listed(token.scopes)}; this needs {scope}")
        raise Unauthenticated(self._what_to_send(scope, authorization))

    def scopes(self, authorization: bytes | None, certified: bool) -> frozenset[Scope]:
        """What a caller may do; nothing for one who is not known."""
        token = self._known(authorization)
        by_token = frozenset[Scope]() if token is None else _with_reading(token.scopes)
        return by_token | _with_reading(self._certified) if certified else by_token

    def _known(self, authorization: bytes | None) -> Token | None:
        if self._file is None or authorization is None or authorization[:7].lower() != _SCHEME:
            return None
        return _find(self._file.tokens(), authorization[7:].strip(b" "))

    def _what_to_send(self, scope: Scope, authorization: bytes | None) -> str:
        if self._file is None:
            return f"this needs the scope {scope}: connect with a client certificate"
        if authorization is None:
            return f"this needs the scope {scope}: send `Authorization: Bearer TOKEN`"
        return "the token is unknown here, or the header is not `Authorization: Bearer TOKEN`"


def guard_of(token_file: str | None, tls_client_ca: str | None) -> Guard | None:
    """The guard that the settings ask for; None when neither is set, and everybody may do everything.

    Without a token file a client certificate is all there is, so it gives every scope. With one it gives `infer`:
    operators show a token as well.
    """
    if token_file is None and tls_client_ca is None:
        return None
    scopes = {Scope.INFER} if token_file is not None else {Scope.INFER, Scope.ADMIN}
    return Guard(token_file, frozenset(scopes))


def _with_reading(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Who may command may look."""
    return scopes | {Scope.READ} if Scope.ADMIN in scopes else scopes


class _TokenFile:
    """The tokens of a file as it is now, looked at once a second at most. One that is broken changes nothing.

    A process that starts while the file is broken knows no token: it refuses everybody until the file is whole.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._tokens: tuple[Token, ...] = ()
        self._seen: object = None
        self._look_at = 0.0
        self.tokens()

    def tokens(self) -> tuple[Token, ...]:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            state = _state(self._path)
            if state != self._seen:
                self._seen = state
                self._read()
        return self._tokens

    def _read(self) -> None:
        try:
            self._tokens = read_tokens(self._path)
        except InvalidRequest as error:
            kept = f"the last {len(self._tokens)} tokens hold on" if self._tokens else "nobody has access until then"
            log.error("%s; mend it, %s", error.message, kept)  # noqa: TRY400 - the file is at fault, not the code
        else:
            log.info("%d tokens read from %s", len(self._tokens), self._path)


def _state(path: str) -> object:
    """What changes when a file does; the error's number when it cannot be asked."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _find(tokens: tuple[Token, ...], secret: bytes) -> Token | None:
    """The token that was sent; every entry is compared, so that the time says nothing about which."""
    digest = _digest(secret)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _entries(text: str, source: str) -> Iterator[Entry]:
    """The lines of a token file, each checked. No message repeats a word: it might be the secret, out of its place."""
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        problem = _problem(words) or (words[1] in seen and f"the token of line {seen[words[1]]} again")
        if problem:
            raise _invalid(f"{source}, line {number}: {problem}; a line is SCOPE[,SCOPE] TOKEN [NAME]")
        seen[words[1]] = number
        scopes = frozenset(Scope(word) for word in words[0].split(","))
        yield Entry(number, scopes, words[1], words[2] if len(words) > 2 else f"line {number}")
    if not seen:
        raise _invalid(f"{source} holds no token; a line is SCOPE[,SCOPE] TOKEN [NAME]")


def _problem(words: list[str]) -> str:
    """What is wrong with a line, or an empty text."""
    scopes = words[0].split(",")
    if not {*scopes} <= {Scope.INFER, Scope.READ, Scope.ADMIN} or len({*scopes}) < len(scopes):
        return "the first word must be infer, read or admin, or several with commas between"
    if len(words) not in (2, 3):
        return "two words are needed, or three with a name"
    if not LEAST_TOKEN <= len(words[1]) <= _MOST_TOKEN:
        return f"the token has {len(words[1])} characters; {LEAST_TOKEN} to {_MOST_TOKEN} are allowed"
    if not _TOKEN.fullmatch(words[1]):
        return "the token has other characters than letters, digits and -._~+/ with = at its end"
    if len(words) > 2 and not _NAME.fullmatch(words[2]):
        return "a name has up to 64 letters, digits and ._-"
    return ""


def _private_text(path: str) -> str:
    """The text of a small regular file that only its owner can read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidRequest(f"the token file {path} is no regular file", reason="token_file_unreadable")
            if status.st_mode & 0o077:
                raise InvalidRequest(
                    f"the token file {path} is open to others (mode {status.st_mode & 0o777:04o}); `chmod 600` it",
                    reason="token_file_exposed",
                )
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(
            f"the token file {path} cannot be read ({error.strerror})", reason="token_file_unreadable"
        ) from None
    if len(data) > _MOST_BYTES or not data.isascii():
        raise _invalid(f"{path} is over 1 MiB, or holds other characters than ASCII")
    return data.decode("ascii")


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(f"token file: {message}", reason="token_file_invalid")


def _listed(scopes: frozenset[Scope]) -> str:
    return ",".join(sorted(scopes))
