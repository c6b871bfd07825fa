"""Questions and answers between gateways and the controller, as bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from changeover.errors import Conflict, Internal, ModelRejected, Unavailable
from changeover.transport.asking import Ask, answered, read, refused, result_of
from changeover.transport.page import sealed_memfd


@pytest.fixture
def memory() -> Iterator[int]:
    """Nine bytes."""
    fd = sealed_memfd("test", 9)
    os.pwrite(fd, b"onetwofor", 0)
    yield fd
    os.close(fd)


def test_a_result_and_an_error_arrive() -> None:
    """The error of the same class, with its sentence and reason."""
    assert result_of(answered([{"name": "m"}])) == [{"name": "m"}]
    assert result_of(answered(None)) is None
    for error in (Conflict("no", reason="rollout_paused"), ModelRejected("bad")):
        with pytest.raises(type(error), match=error.message) as caught:
            result_of(refused(error))
        assert caught.value.reason == error.reason


@pytest.mark.parametrize("data", [b"", answered([1, 2, 3])[:-1]])
def test_an_answer_that_does_not_end(data: bytes) -> None:
    """Whoever should answer has died."""
    with pytest.raises(Unavailable) as caught:
        result_of(data)
    assert caught.value.reason == "controller_away"


def test_parts_follow_one_another(memory: int) -> None:
    """Each with its name; a body is one without."""
    ask = Ask("load", "m", parts=(("a", 3), ("b", 0), ("c", 6)))
    assert read(ask, memory) == [("a", b"one"), ("b", b""), ("c", b"twofor")]
    assert read(Ask("load", "m", body=9), memory) == [("", b"onetwofor")]


def test_memory_that_is_not_what_was_told(memory: int) -> None:
    """Of another size, or of one that can change."""
    loose = os.memfd_create("loose")
    os.ftruncate(loose, 9)
    for ask, fd in ((Ask("load", "m", body=8), memory), (Ask("load", "m", body=9), loose)):
        with pytest.raises(Internal) as caught:
            read(ask, fd)
        assert caught.value.reason == "ask_malformed"
    os.close(loose)
