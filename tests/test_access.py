"""Scopes, token files and the guard."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from changeover import access
from changeover.access import Guard, Scope, guard_of, parse_tokens, read_secret, read_tokens
from changeover.errors import Forbidden, InvalidRequest, Unauthenticated

INFER, ADMIN, BOTH = "infer-0123456789abcdef", "admin-0123456789abcdef", "both-0123456789abcdef"
TEXT = f"""
# tokens of a test
infer        {INFER}  shop
admin        {ADMIN}
\tinfer,admin {BOTH}   root\r
"""


def write(path: Path, text: str, mode: int = 0o600) -> str:
    """A file that is surely newer than the one before."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def bearer(token: str) -> bytes:
    """The header of a token."""
    return f"Bearer {token}".encode()


def test_a_file_is_read_line_by_line() -> None:
    """With scopes, names, comments and empty lines; of the secrets only digests stay."""
    tokens = parse_tokens(TEXT, "f")
    assert [(t.name, sorted(t.scopes)) for t in tokens] == [
        ("shop", ["infer"]),
        ("line 4", ["admin"]),
        ("root", ["admin", "infer"]),
    ]
    assert all(len(t.digest) == 32 for t in tokens)
    assert not any(secret in repr(tokens) for secret in (INFER, ADMIN, BOTH))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("infer short", 1, "5 characters"),
        (f"\n\n{INFER} infer", 3, "first word"),
        (f"open {INFER}", 1, "first word"),
        (f"infer,infer {INFER}", 1, "first word"),
        (f"Infer {INFER}", 1, "first word"),
        (f"infer, admin {INFER}", 1, "first word"),
        (INFER, 1, "first word"),
        ("infer", 1, "two words"),
        (f"infer {INFER} a b", 1, "two words"),
        (f"infer {INFER} na/me", 1, "a name"),
        (f"infer {INFER}!", 1, "other characters"),
        (f"infer {'a' * 513}", 1, "513 characters"),
        (f"infer {INFER}\n# x\nadmin {INFER}", 3, "the token of line 1 again"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(text: str, line: int, words: str) -> None:
    """And no sentence repeats a word of the file: it may be a secret out of its place."""
    with pytest.raises(InvalidRequest) as refused:
        parse_tokens(text, "the/file")
    message = refused.value.message
    assert refused.value.reason == "token_file_invalid"
    assert f"the/file, line {line}: " in message
    assert words in message
    assert INFER not in message


def test_a_file_without_tokens_is_refused() -> None:
    """It would shut everybody out, which nobody means."""
    with pytest.raises(InvalidRequest, match="holds no token"):
        parse_tokens("# nothing\n\n", "f")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """The sentence says what to do."""
    with pytest.raises(InvalidRequest, match="chmod 600") as refused:
        read_tokens(write(tmp_path / "tokens", TEXT, mode))
    assert refused.value.reason == "token_file_exposed"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, a folder, a pipe, too large, not ASCII."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "big").write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "odd").write_text(f"infer {INFER}ä")
    reasons = {}
    for name in ("missing", ".", "pipe", "big", "odd"):
        if name in ("big", "odd"):
            (tmp_path / name).chmod(0o600)
        with pytest.raises(InvalidRequest) as refused:
            read_tokens(str(tmp_path / name))
        reasons[name] = refused.value.reason
    unreadable, invalid = "token_file_unreadable", "token_file_invalid"
    assert reasons == {"missing": unreadable, ".": unreadable, "pipe": unreadable, "big": invalid, "odd": invalid}


def test_a_client_sends_the_first_token_with_the_scope(tmp_path: Path) -> None:
    """Out of the same kind of file."""
    path = write(tmp_path / "tokens", TEXT)
    assert (read_secret(path, Scope.INFER), read_secret(path, Scope.ADMIN)) == (INFER, ADMIN)
    with pytest.raises(InvalidRequest, match="no token with the scope admin"):
        read_secret(write(tmp_path / "one", f"infer {INFER}"), Scope.ADMIN)


def test_who_may_command_or_only_look_has_a_token_for_looking(tmp_path: Path) -> None:
    """The first that may; one for inference may not."""
    reader = "read-0123456789abcdef"
    both = write(tmp_path / "both", f"infer {INFER}\nread {reader}\nadmin {ADMIN}")
    assert (read_secret(both, Scope.READ), read_secret(both, Scope.ADMIN)) == (reader, ADMIN)
    assert read_secret(write(tmp_path / "admin", f"infer {INFER}\nadmin {ADMIN}"), Scope.READ) == ADMIN
    with pytest.raises(InvalidRequest, match="no token with the scope read"):
        read_secret(write(tmp_path / "infer", f"infer {INFER}"), Scope.READ)


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    """A guard with the three tokens."""
    made = guard_of(write(tmp_path / "tokens", TEXT), None)
    assert made is not None
    return made


@pytest.mark.parametrize(
    "header", [bearer(INFER), bearer(BOTH), b"bearer " + INFER.encode(), b"BEARER  " + INFER.encode()]
)
def test_a_known_token_with_the_scope_passes(guard: Guard, header: bytes) -> None:
    """The scheme is written as anybody likes; the control: without its last letter the token is nobody's."""
    guard.check(Scope.INFER, header, False)
    with pytest.raises(Unauthenticated):
        guard.check(Scope.INFER, header[:-1], False)


@pytest.mark.parametrize(
    "header",
    [
        *(None, b"", b"Bearer", b"Bearer ", INFER.encode(), b"Basic " + INFER.encode(), bearer(INFER[:-1])),
        *(bearer(INFER + "x"), bearer(INFER.upper()), bearer(INFER) + b", " + bearer(INFER), bearer("ä" * 16)),
    ],
)
def test_whoever_is_unknown_is_asked_for_a_token(guard: Guard, header: bytes | None) -> None:
    """Missing, unknown, cut off, sent twice: all the same, and the sentence does not repeat it."""
    with pytest.raises(Unauthenticated) as refused:
        guard.check(Scope.INFER, header, False)
    assert refused.value.reason == "unauthenticated"
    assert INFER not in refused.value.message


def test_scopes_do_not_include_each_other(guard: Guard) -> None:
    """An admin token is none for inferences; the sentence names token and scopes."""
    with pytest.raises(Forbidden, match=r"'line 4' has the scope admin; this needs infer") as refused:
        guard.check(Scope.INFER, bearer(ADMIN), False)
    assert refused.value.reason == "forbidden"
    with pytest.raises(Forbidden, match="'shop' has the scope infer; this needs admin"):
        guard.check(Scope.ADMIN, bearer(INFER), False)
    guard.check(Scope.OPEN, None, False)


def test_who_may_command_may_look(guard: Guard) -> None:
    """The scope read is in admin, not in infer, and is no admin's."""
    guard.check(Scope.READ, bearer(ADMIN), False)
    with pytest.raises(Forbidden, match="'shop' has the scope infer; this needs read"):
        guard.check(Scope.READ, bearer(INFER), False)
    assert guard.scopes(bearer(ADMIN), False) == {Scope.READ, Scope.ADMIN}
    assert guard.scopes(bearer(INFER), False) == {Scope.INFER}
    assert guard.scopes(None, False) == guard.scopes(b"Basic x", False) == frozenset()
    (read,) = parse_tokens(f"read {INFER}", "f")
    assert read.scopes == {Scope.READ}


def test_certificates_alone_give_all_and_beside_tokens_inference(guard: Guard) -> None:
    """With a token file an operator shows a token as well."""
    alone = guard_of(None, "ca.pem")
    assert alone is not None
    alone.check(Scope.INFER, None, True)
    alone.check(Scope.ADMIN, None, True)
    with pytest.raises(Unauthenticated, match="client certificate"):
        alone.check(Scope.INFER, bearer(INFER), False)
    guard.check(Scope.INFER, None, True)
    guard.check(Scope.ADMIN, bearer(ADMIN), True)
    with pytest.raises(Unauthenticated, match="the scope admin: send `Authorization"):
        guard.check(Scope.ADMIN, None, True)


def test_without_settings_there_is_no_guard() -> None:
    """And nothing is paid for one."""
    assert guard_of(None, None) is None


def test_every_digest_is_compared(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever token comes, and an unknown one too, the same comparisons are made."""
    counted: list[int] = []
    compare = access.hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        counted[-1] += 1
        return compare(a, b)

    monkeypatch.setattr(access.hmac, "compare_digest", counting)
    for token in (INFER, ADMIN, BOTH, "unknown-0123456789abcdef"):
        counted.append(0)
        try:
            guard.check(Scope.INFER, bearer(token), False)
        except (Unauthenticated, Forbidden):
            pass
    assert counted == [3, 3, 3, 3]


def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Looked at once a second at most; the last good tokens hold on, and the log says so once."""
    now = [100.0]
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    path = write(tmp_path / "tokens", f"infer {INFER}")
    guard = Guard(path, frozenset())
    guard.check(Scope.INFER, bearer(INFER), False)
    os.replace(write(tmp_path / "new", f"infer {BOTH}"), path)
    now[0] += 0.5
    guard.check(Scope.INFER, bearer(INFER), False)
    now[0] += 0.6
    guard.check(Scope.INFER, bearer(BOTH), False)
    with pytest.raises(Unauthenticated):
        guard.check(Scope.INFER, bearer(INFER), False)
    for broken in (f"infer {INFER}\nnonsense {ADMIN}", None):
        if broken is None:
            (tmp_path / "tokens").unlink()
        else:
            os.replace(write(tmp_path / "new", broken), path)
        caplog.clear()
        for _ in range(3):
            now[0] += 1.1
            guard.check(Scope.INFER, bearer(BOTH), False)
        errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert len(errors) == 1
        assert "the last 1 tokens hold on" in errors[0]
        assert not any(secret in caplog.text for secret in (INFER, ADMIN, BOTH))


def test_a_process_that_starts_with_a_broken_file_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the file is whole."""
    now = [100.0]
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    guard = Guard(str(tmp_path / "tokens"), frozenset())
    with pytest.raises(Unauthenticated):
        guard.check(Scope.INFER, bearer(INFER), False)
    assert "nobody has access until then" in caplog.text
    write(tmp_path / "tokens", TEXT)
    now[0] += 1.1
    guard.check(Scope.INFER, bearer(INFER), False)
