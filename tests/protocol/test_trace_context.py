"""`traceparent` as the standard has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.protocol.trace_context import TraceParent, parsed, passed_on

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
GOOD = b"00-%b-%b-01" % (TRACE, PARENT)


def test_a_good_one_is_passed_on() -> None:
    """As it came, with the flag that is known."""
    assert parsed(GOOD) == TraceParent(TRACE.decode(), PARENT.decode(), True)
    assert passed_on(GOOD) == GOOD
    assert parsed(GOOD[:-2] + b"00") == TraceParent(TRACE.decode(), PARENT.decode(), False)
    assert passed_on(GOOD[:-2] + b"ff") == GOOD


def test_a_later_version_may_have_more() -> None:
    """What is known of it is passed on as this version."""
    assert passed_on(b"01" + GOOD[2:] + b"-what-ever") == GOOD


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + b"-more",
        b"ff" + GOOD[2:],
        b"00-%b-%b-01" % (b"0" * 32, PARENT),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"01" + GOOD[2:] + b"x",
        b"01" + GOOD[2:] + b"-\r\nx: y",
        b"01" + GOOD[2:] + b"-" + b"x" * 600,
    ],
)
def test_a_bad_one_is_none(value: bytes | None) -> None:
    """Malformed, all zeros, or of the version that there is not."""
    assert parsed(value) is None
    assert passed_on(value or b"") is None


@given(st.binary(max_size=80))
def test_nothing_is_passed_on_that_could_break_a_head(value: bytes) -> None:
    """Whatever comes: an answer's field has one form."""
    passed = passed_on(value)
    assert passed is None or (len(passed) == 55 and passed.isascii() and passed.isalnum() is False)
