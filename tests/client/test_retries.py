"""What is tried again, and when."""

from __future__ import annotations

import pytest

from changeover.client.ask import Ask, ConnectionLost, Unreachable, Untrusted, get, post
from changeover.client.retries import Tries
from changeover.errors import ChangeoverError, DeadlineExceeded, InvalidRequest, Overloaded


def told(error: ChangeoverError, status: int) -> ChangeoverError:
    error.status = status
    return error


QUESTION, VERB = get("/"), post("/")
FULL = told(Overloaded("x", retry_after=3), 503)


@pytest.mark.parametrize("ask", [QUESTION, VERB])
def test_a_connection_that_was_not_made_is_tried_again(ask: Ask) -> None:
    """Nothing was asked yet; each pause is longer than the one before, a second at most."""
    tries = Tries(60.0)
    pauses = [tries.pause(ask, Unreachable("x")) for _ in range(8)]
    assert 0.05 <= pauses[0] < 0.06
    assert pauses[0] < pauses[2] < pauses[4] < pauses[-1] <= 1.1


def test_the_servers_time_is_kept() -> None:
    """A 503 is asked again after its `Retry-After` and up to a tenth, never before."""
    assert all(3.0 <= Tries(60.0).pause(QUESTION, FULL) <= 3.3 for _ in range(50))


def test_nothing_is_tried_again_past_the_deadline() -> None:
    """The error comes at once, not after a pause that nobody has time for."""
    with pytest.raises(Overloaded):
        Tries(2.0).pause(QUESTION, FULL)
    with pytest.raises(DeadlineExceeded, match="no answer within 0 s"):
        Tries(0.0).left()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (VERB, FULL),
        (VERB, ConnectionLost("x")),
        (QUESTION, Untrusted("x")),
        (QUESTION, told(InvalidRequest("x"), 400)),
        (QUESTION, told(Overloaded("x"), 500)),
    ],
)
def test_what_would_do_harm_or_no_good_is_not_tried_again(ask: Ask, error: ChangeoverError) -> None:
    """A verb that may have been done, a certificate, a mistake."""
    with pytest.raises(type(error)):
        Tries(60.0).pause(ask, error)


def test_a_broken_connection_is_tried_again_once() -> None:
    """A request that ends the server's process must not end the next one too, and so on."""
    tries = Tries(60.0)
    assert tries.pause(QUESTION, ConnectionLost("x")) > 0
    with pytest.raises(ConnectionLost):
        tries.pause(QUESTION, ConnectionLost("x"))
