"""What the supervisor knows of a loading."""

from __future__ import annotations

from time import monotonic

import pytest

from changeover.supervisor.loading import Loading
from changeover.transport.channel import ChannelSize


def loading() -> Loading:
    return Loading(7, {"model": "m", "verify": True})


def test_states_are_reached_in_order_and_once() -> None:
    """The next one may be left out, none comes back."""
    made = loading()
    made.reach(0)
    made.reach(3)
    with pytest.raises(ValueError, match="state loading after ready"):
        made.reach(1)


def test_what_the_first_worker_took_bounds_the_next() -> None:
    """Five times as long, at least 10 s; a replacement's own time changes nothing."""
    made = loading()
    assert made.patience == 10.0
    made.proven(ChannelSize(3, 64, 64), {}, monotonic() - 8.0)
    assert 40.0 <= made.patience < 45.0
    made.proven(ChannelSize(3, 64, 64), {}, monotonic() - 800.0)
    assert 40.0 <= made.patience < 45.0
    assert made.spec == {"model": "m", "verify": False, "signature": {}}


def test_a_life_counts_from_being_ready() -> None:
    """A worker that takes long to load and dies at once has not lived."""
    made = loading()
    assert made.lived == 0.0
    made.proven(ChannelSize(3, 64, 64), {}, monotonic() - 60.0)
    assert made.lived < 5.0


def test_a_new_controller_is_told_all() -> None:
    """Plain values, with the circuit."""
    told = loading().snapshot()
    assert (told["loading"], told["model"], told["pid"], told["retiring"]) == (7, "m", None, False)
    assert told["health"] == {"loading": 7, "circuit": "closed", "deaths": 0, "cause": None, "code": 0, "wait": 0.0}
    assert repr(loading()) == "<loading 7 of m>"
