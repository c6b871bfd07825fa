"""TLS contexts: files that cannot be used, and files that change."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from changeover import tls
from changeover.errors import InvalidRequest
from changeover.tls import LiveContext, TlsFiles, context_of, server_context
from tests.certificates import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA for all tests here."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """A server's certificate."""
    return authority.issue("server")


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """A handshake in memory, and a byte each way; the client's end of it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    at_server = server.wrap_bio(there, back, server_side=True)
    at_client = client.wrap_bio(back, there, server_hostname="127.0.0.1")
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for end in (at_client, at_server):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    assert len(done) == 2
    at_server.write(b"x")
    assert at_client.read(1) == b"x"
    return at_client


def test_tls_1_2_at_least(pair: Pair) -> None:
    """Older versions are not spoken, and nothing is renegotiated or compressed."""
    context = server_context(TlsFiles(str(pair.cert), str(pair.key)), demand=True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(("demand", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)])
def test_client_certificates_are_verified(authority: Authority, pair: Pair, demand: bool, mode: ssl.VerifyMode) -> None:
    """Demanded or only looked at; a session is not taken up again without one."""
    files = TlsFiles(str(pair.cert), str(pair.key), str(authority.cert))
    context = server_context(files, demand=demand)
    assert context.verify_mode is mode
    assert (context.num_tickets, context.minimum_version) == (0, ssl.TLSVersion.TLSv1_3)
    shake_hands(context, authority.client_context(authority.issue("client")))
    if demand:
        with pytest.raises(ssl.SSLError):
            shake_hands(context, authority.client_context())
    else:
        shake_hands(context, authority.client_context())


def test_files_that_cannot_be_used_are_told(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """Missing, no PEM, another certificate's key, a key with a password: each with its file and a sentence."""
    junk, locked, other = tmp_path / "junk.pem", tmp_path / "locked.key", authority.issue("other")
    junk.write_text("nothing")
    command = ["openssl", "pkcs8", "-topk8", "-in", pair.key, "-passout", "pass:geheim", "-out", locked]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    cert, key = str(pair.cert), str(pair.key)
    cases = [
        (TlsFiles("missing.pem", key), "missing.pem cannot be read"),
        (TlsFiles(cert, "missing.key"), "missing.key cannot be read"),
        (TlsFiles(cert, key, "missing.ca"), "missing.ca cannot be read"),
        (TlsFiles(str(junk), key), "no certificate and its key"),
        (TlsFiles(cert, str(junk)), "no certificate and its key"),
        (TlsFiles(cert, str(other.key)), "key values mismatch"),
        (TlsFiles(cert, str(locked)), "needs a password"),
        (TlsFiles(cert, key, str(junk)), "holds no CA certificate"),
    ]
    for files, words in cases:
        with pytest.raises(InvalidRequest) as refused:
            server_context(files, demand=True)
        assert words in refused.value.message
        assert refused.value.reason == "tls_file"


def test_a_key_that_becomes_readable_is_noticed(authority: Authority, tmp_path: Path) -> None:
    """A changed mode or owner is a change of the file, although its bytes and their time are the same."""
    path = tmp_path / "key.pem"
    path.write_bytes(b"key")
    before = tls._stamp(str(path))
    path.chmod(0o600)
    assert tls._stamp(str(path)) != before


def test_without_settings_there_is_no_context(pair: Pair) -> None:
    """And with them there is."""
    assert context_of(None, None, None, demand=True) is None
    assert context_of(str(pair.cert), str(pair.key), None, demand=True) is not None


def test_changed_files_count_for_the_next_connection(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new certificate and a new client CA are taken; files that do not fit together change nothing."""
    now = [100.0]
    monkeypatch.setattr(tls.time, "monotonic", lambda: now[0])
    first, second, stranger = authority.issue("first"), authority.issue("second"), Authority(tmp_path, "stranger")
    files = TlsFiles(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), str(tmp_path / "ca.pem"))
    install(first, files, authority.cert)
    live = LiveContext(files, demand=True)
    client = authority.client_context(authority.issue("client"))
    assert common_name(shake_hands(live.context, client)) == "first"
    install(Pair(second.cert, first.key), files, authority.cert)
    now[0] += 1.1
    assert common_name(shake_hands(live.context, client)) == "first"
    assert "the last good one is used" in caplog.text
    install(second, files, authority.cert)
    assert common_name(shake_hands(live.context, client)) == "first"  # looked at once a second
    now[0] += 1.1
    assert common_name(shake_hands(live.context, client)) == "second"
    install(second, files, stranger.cert)
    now[0] += 1.1
    with pytest.raises(ssl.SSLError):
        shake_hands(live.context, client)
    with_new = authority.client_context(stranger.issue("client2"))
    assert common_name(shake_hands(live.context, with_new)) == "second"


def test_the_protocol_is_told_before_and_after_a_change(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To clients that ask for it, also by the files' next context; without one nothing is told."""
    now = [100.0]
    monkeypatch.setattr(tls.time, "monotonic", lambda: now[0])
    first, second = authority.issue("first"), authority.issue("second")
    files = TlsFiles(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), str(tmp_path / "ca.pem"))
    install(first, files, authority.cert)
    context = context_of(files.cert, files.key, None, demand=True, alpn="h2")
    silent = context_of(files.cert, files.key, None, demand=True)
    assert context is not None
    assert silent is not None
    client = authority.client_context()
    client.set_alpn_protocols(["h2"])
    assert shake_hands(context, client).selected_alpn_protocol() == "h2"
    assert shake_hands(silent, client).selected_alpn_protocol() is None
    install(second, files, authority.cert)
    now[0] += 1.1
    told = shake_hands(context, client)
    assert (common_name(told), told.selected_alpn_protocol()) == ("second", "h2")


def install(pair: Pair, files: TlsFiles, client_ca: Path) -> None:
    """Put other files in the places, each replaced whole."""
    for source, place in ((pair.cert, files.cert), (pair.key, files.key), (client_ca, files.client_ca)):
        fresh = Path(f"{place}.new")
        fresh.write_bytes(source.read_bytes())
        os.utime(fresh, ns=(time.time_ns(), time.time_ns()))
        fresh.replace(str(place))


def common_name(client: ssl.SSLObject) -> str:
    """Whose certificate the server has shown."""
    found = client.getpeercert() or {}
    return str(dict(pair for part in found["subject"] for pair in part)["commonName"])  # type: ignore[misc, union-attr]
