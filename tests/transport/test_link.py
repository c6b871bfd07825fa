"""Frames between the supervisor and its children, over real sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import Internal
from changeover.transport import link
from changeover.transport.link import Frame, Kind, Link, LinkClosed, frame, pair
from tests.descriptors import held


@pytest.fixture
def ends() -> Iterator[tuple[Link, Link]]:
    """Both ends of a link."""
    first, second = map(Link, pair())
    yield first, second
    first.close()
    second.close()


def test_a_frame_arrives_as_it_was_sent(ends: tuple[Link, Link]) -> None:
    """Kind, body, term, source and target."""
    ends[0].send(Frame(Kind.PREPARE, b'{"a": 1}', term=2**63, source=7, target=9))
    got = ends[1].receive()
    assert got is not None
    assert (got.kind, got.json(), got.term, got.source, got.target) == (Kind.PREPARE, {"a": 1}, 2**63, 7, 9)
    assert ends[1].receive() is None


@given(st.sampled_from(Kind), st.binary(max_size=500), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_every_frame_survives_the_way(kind: Kind, body: bytes, term: int, target: int) -> None:
    """Whatever the body holds."""
    first, second = map(Link, pair())
    first.send(Frame(kind, body, term=term, target=target))
    got = second.receive()
    assert got is not None
    assert (got.kind, got.body, got.term, got.target) == (kind, body, term, target)
    first.close()
    second.close()


def test_descriptors_travel_and_the_senders_copies_may_be_closed(ends: tuple[Link, Link]) -> None:
    """The receiver's descriptors are its own, and not inherited by what it spawns."""
    reader, writer = os.pipe()
    ends[0].send(frame(Kind.CHANNEL, None, fds=[writer]))
    os.close(writer)
    got = ends[1].receive()
    assert got is not None
    (fd,) = got.fds
    assert not os.get_inheritable(fd)
    os.write(fd, b"here")
    assert os.read(reader, 10) == b"here"
    os.close(fd)
    os.close(reader)


def test_order_is_kept_through_a_full_buffer(ends: tuple[Link, Link]) -> None:
    """Frames that had to wait come behind those that did not, and descriptors wait with them."""
    reader, writer = os.pipe()
    for number in range(300):
        ends[0].send(frame(Kind.STATUS, [number, "x" * 20_000], fds=[writer] if number == 299 else []))
    os.close(writer)
    assert ends[0].wants_write
    got: list[int] = []
    while len(got) < 300:
        message = ends[1].receive()
        if message is None:
            ends[0].flush()
            continue
        got.append(message.json()[0])
        for fd in message.fds:
            os.close(fd)
    assert got == list(range(300))
    assert not ends[0].wants_write
    assert os.read(reader, 1) == b"", "all copies of the pipe's other end are closed"
    os.close(reader)


def test_a_peer_that_never_reads_is_given_up(ends: tuple[Link, Link], monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlog is bounded, and closing gives back the descriptors in it."""
    monkeypatch.setattr(link, "_MAX_BACKLOG", 50)
    reader, writer = os.pipe()
    message = frame(Kind.STATUS, "x" * 60_000, fds=[writer])
    while not ends[0].wants_write:
        ends[0].send(message)
    for _ in range(49):
        ends[0].send(message)
    with pytest.raises(LinkClosed):
        ends[0].send(message)
    os.close(writer)
    ends[0].close()
    ends[1].close()
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_dead_peer_is_told_to_reader_and_writer(ends: tuple[Link, Link]) -> None:
    """End of file and EPIPE are the same news."""
    ends[1].close()
    with pytest.raises(LinkClosed):
        ends[0].receive()
    with pytest.raises(LinkClosed):
        ends[0].send(frame(Kind.STOP))


def test_what_a_dead_peer_sent_is_still_read(ends: tuple[Link, Link]) -> None:
    """Last words come before the end of file."""
    ends[0].send(frame(Kind.LEASES, 1))
    ends[0].close()
    message = ends[1].receive()
    assert message is not None
    assert message.json() == 1
    with pytest.raises(LinkClosed):
        ends[1].receive()


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_refused_and_never_more(data: bytes) -> None:
    """Bytes that are no frame raise `Internal`, whatever they are."""
    ours, theirs = pair()
    end = Link(ours)
    theirs.send(data)
    try:
        message = end.receive()
    except Internal:
        pass
    else:
        assert message is not None
        assert message.pack() == data
    end.close()
    theirs.close()


@pytest.mark.parametrize(
    "data", [b"short", b"\0" * 28, Frame(Kind.STOP, b"").pack()[:-1], Frame(Kind.STOP, b"").pack()[:4] + b"\xff" * 24]
)
def test_malformed_frames_close_the_descriptors_they_brought(data: bytes) -> None:
    """Nobody can fill the supervisor's table of descriptors with frames that it refuses."""
    ours, theirs = pair()
    end = Link(ours)
    reader, writer = os.pipe()
    socket.send_fds(theirs, [data], [writer])
    os.close(writer)
    with pytest.raises(Internal):
        end.receive()
    assert os.read(reader, 1) == b""
    for closing in (end, theirs):
        closing.close()
    os.close(reader)


def test_a_frame_over_the_limit_is_refused(ends: tuple[Link, Link]) -> None:
    """It is cut by the kernel, and a cut frame is no frame."""
    ends[0].send(frame(Kind.STATUS, "x" * link.MAX_FRAME))
    with pytest.raises(Internal, match="malformed"):
        ends[1].receive()


def test_descriptors_without_room_are_not_sent_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies that were made are closed, and the peer hears nothing."""
    ours, theirs = (Link(end) for end in pair())
    before, real = held(), os.dup

    def dup(fd: int) -> int:
        if fd == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(fd)

    monkeypatch.setattr(os, "dup", dup)
    with pytest.raises(OSError, match="Too many"):
        ours.send(frame(Kind.CHANNEL, {}, fds=[0, 1]))
    assert not held() - before
    assert theirs.receive() is None
    ours.close()
    theirs.close()
