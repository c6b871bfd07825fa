"""The door behind TLS: the same promises, through another transport."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.tls import TlsFiles, server_context
from tests.certificates import Authority
from tests.gateway.door.served import Served, get, post, serving
from tests.held_up import unless_held_up

MIB = 1 << 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA for all tests here."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    """A server's context that verifies a client's certificate when there is one."""
    pair = authority.issue("server")
    return server_context(TlsFiles(str(pair.cert), str(pair.key), str(authority.cert)), demand=False)


@pytest.fixture
def door(server_tls: ssl.SSLContext) -> Iterator[Served]:
    """A door with TLS and short times."""
    with serving(server_tls, linger_seconds=0.5, idle_seconds=5.0) as served:
        yield served


def test_requests_on_kept_and_fresh_connections(door: Served, authority: Authority) -> None:
    """Bodies of all sizes come back, one after the other and pipelined."""
    tls = authority.client_context()
    with door.client(tls=tls) as client:
        for size in (0, 1, 1000, 100_000, 3 * MIB):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            client.send(post(body))
            assert client.answer().body == body
        client.send(get("/large?5000") * 20)
        assert {client.answer().body for _ in range(20)} == {b"L" * 5000}
    with door.client(tls=tls) as client:
        client.send(get("/view?2000000", "connection: close"))
        assert client.answer().body == bytes(2_000_000)
        assert client.ended()


@pytest.mark.parametrize(("shown", "said"), [(True, b"yes"), (False, b"no")])
def test_a_verified_certificate_is_known(door: Served, authority: Authority, shown: bool, said: bytes) -> None:
    """The application sees whether the client has shown one."""
    with door.client(tls=authority.client_context(authority.issue("client") if shown else None)) as client:
        client.send(get("/certified"))
        assert client.answer().body == said


def test_a_certificate_of_another_ca_is_refused(door: Served, authority: Authority, tmp_path: Path) -> None:
    """No request of such a connection is answered."""
    stranger = Authority(tmp_path, "stranger").issue("client")
    got = b""
    try:
        with door.client(tls=authority.client_context(stranger)) as client:
            client.send(get("/certified"))
            got = client.sock.recv(1)
    except (ssl.SSLError, ConnectionError):
        pass  # the alert, or the end behind it
    assert (got, door.app.seen) == (b"", [])


def test_old_protocols_are_refused(door: Served, authority: Authority) -> None:
    """With a client CA TLS 1.3 is taken and nothing older: a session of 1.2 could be resumed without a certificate."""
    with door.client(tls=authority.client_context()) as client:
        client.send(get())
        assert client.answer().status == 200
    tls = authority.client_context()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        door.client(tls=tls)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.cert)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        door.client(tls=old)


@unless_held_up(0.3)
def test_no_tls_and_slow_handshakes_end(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """Plain HTTP, silence and half a handshake end in the time of a head; others are served meanwhile."""
    with serving(server_tls, header_seconds=1.0) as door:
        began = time.monotonic()
        plain, silent, half = door.client(), door.client(), door.client()
        plain.send(get())
        half.send(b"\x16\x03\x01\x02\x00\x01")
        with door.client(tls=authority.client_context()) as good:
            good.send(get())
            assert good.answer().status == 200
        assert plain.sock.recv(100)[:1] in (b"", b"\x15")  # an alert at most, never an answer
        assert silent.ended()
        assert half.ended()
        assert 0.9 < time.monotonic() - began < 4.5
        for client in (plain, silent, half):
            client.sock.close()
        assert len(door.app.seen) == 1


def test_a_slow_reader_costs_the_budget_and_gets_all(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """A large answer waits in counted memory, its connection takes no next request, and it arrives whole."""
    with serving(server_tls) as door, door.client(8192, authority.client_context()) as client:
        client.send(get("/view?30000000") + get("/large?10"))
        door.until(lambda: door.server.budget_used > 20 * MIB, "the charge")
        assert len(door.app.seen) == 1
        assert client.answer().body == bytes(30_000_000)
        assert client.answer().body == b"L" * 10
        door.until(lambda: door.server.budget_used == 0, "the budget")


def test_a_slow_reader_of_a_last_answer_gets_all(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """The connection closes behind a large answer, not before its end."""
    limits = {"linger_seconds": 0.3, "write_seconds": 5.0}  # a client that says no goodbye is waited for so long
    with serving(server_tls, **limits) as door, door.client(8192, authority.client_context()) as client:
        client.send(get("/large?9000000", "connection: close"))
        time.sleep(1.5)
        assert client.answer().body == b"L" * 9_000_000
        assert client.ended()
        door.until(lambda: door.server.connections == 0 and door.server.budget_used == 0, "the end")


def test_a_last_answer_that_only_the_transport_holds_arrives(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """What the transport took and the kernel did not is not counted any more, and is not cut off by the close."""
    with serving(server_tls, linger_seconds=0.2) as door:
        door.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of its connections
        with door.client(4096, authority.client_context()) as client:
            client.send(get("/large?60000", "connection: close"))
            time.sleep(1.5)
            assert client.answer().body == b"L" * 60_000
            assert client.ended()


def test_a_reader_that_never_reads_is_cut(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """After the time for an unsent answer, and its bytes go back to the budget."""
    limits = {"write_seconds": 0.5, "byte_rate": 1 << 30}
    with serving(server_tls, **limits) as door, door.client(8192, authority.client_context()) as client:
        client.send(get("/view?30000000"))
        door.until(lambda: door.server.budget_used > 20 * MIB, "the charge")
        door.until(lambda: door.server.connections == 0, "the end of the connection")
        assert door.server.budget_used == 0
        assert door.server.counts.expired == 1


@pytest.mark.parametrize("way", ["goodbye", "end of file", "reset"])
def test_a_client_that_stops_sending_is_gone(
    door: Served, authority: Authority, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS knows no half-closed connection: the application is told at once."""
    client = door.client(tls=authority.client_context())
    client.send(get("/hold"))
    door.until(lambda: len(door.app.held) == 1, "the request")
    if way == "goodbye":
        client.sock.settimeout(0.1)
        assert isinstance(client.sock, ssl.SSLSocket)
        try:
            client.sock.unwrap()
        except OSError:
            pass  # the answer of the other side is not waited for
    elif way == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    door.until(lambda: door.app.abandoned == ["/hold"], "the news")
    door.until(lambda: door.server.connections == 0, "the end")
    assert caplog.text == ""


def test_half_a_handshake_does_not_hold_up_a_stop(server_tls: ssl.SSLContext) -> None:
    """It has a second, as a young connection has for its first request, and not the time of a head."""
    with serving(server_tls, header_seconds=30.0) as door, door.client() as half:
        half.send(b"\x16\x03\x01")
        door.until(lambda: door.server.counts.accepted == 1, "the connection")
        began = time.monotonic()
        assert door.wait(door.server.stop(8.0, duck_seconds=0.1)) == 0
        assert 0.5 < time.monotonic() - began < 5.0
        assert half.ended()


def test_the_lame_duck_answers_and_leaves(door: Served, authority: Authority) -> None:
    """Answers say close; idle connections, half handshakes and clients that wait for an end do not hold it up."""
    tls = authority.client_context()
    idle, half, active = door.client(tls=tls), door.client(), door.client(tls=tls)
    idle.send(get())
    idle.answer()
    half.send(b"\x16\x03\x01")
    active.send(get("/hold"))
    door.until(lambda: len(door.app.held) == 1, "the request")
    stopping = door.begin(door.server.stop(8.0, duck_seconds=0.2))
    time.sleep(0.4)
    door.call(lambda: door.app.held[0].respond(200, b"", (b"in time",)))
    answer = active.answer()
    assert (answer.body, answer.headers["connection"]) == (b"in time", "close")
    assert stopping.result(7.0) == 0
    assert active.ended()
    for client in (idle, half, active):
        client.sock.close()


def test_a_stop_under_load_loses_nothing(door: Served, authority: Authority) -> None:
    """Clients on kept and fresh connections miss no answer during a stop."""
    tls = authority.client_context()
    lost: list[str] = []
    answered = [0] * 4
    stop = threading.Event()

    def hammer(number: int) -> None:
        while not stop.is_set():
            try:
                client = door.client(tls=tls)
            except OSError:
                return  # nothing was sent
            with client:
                while True:
                    try:
                        client.send(post(b"q"))
                        answer = client.answer()
                    except (OSError, AssertionError) as error:
                        lost.append(repr(error))
                        return
                    answered[number] += 1
                    if number % 2 or answer.headers.get("connection") == "close":
                        break

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    door.until(lambda: min(answered) > 5, "traffic")
    assert door.wait(door.server.stop(6.0, duck_seconds=0.5)) == 0
    stop.set()
    for thread in threads:
        thread.join(10.0)
    assert lost == []


def test_a_refused_upload_reads_its_answer(server_tls: ssl.SSLContext, authority: Authority) -> None:
    """A body over the limit is refused while it is being sent, and the client can read why."""
    with serving(server_tls, body_bytes=1000) as door, door.client(tls=authority.client_context()) as client:
        client.send(b"POST /echo HTTP/1.1\r\nhost: d\r\ncontent-length: 3000000\r\n\r\n" + bytes(100_000))
        client.send(bytes(100_000))
        assert client.answer().status == 413
