"""What the supervisor knows of a loading."""

from __future__ import annotations

import os
from time import monotonic

import pytest

from changeover.errors import Internal
from changeover.sequences.geometry import Geometry
from changeover.sequences.slab import Slab
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


def test_a_slab_is_made_once_and_goes_with_the_loading() -> None:
    """The next worker asks for the same one; another one, or none, is no report of this loading's worker."""
    made = loading()
    made.hold_slab(None)
    assert made.slab is None
    made.hold_slab([4, 100])
    first = made.slab
    made.hold_slab([4, 100])
    assert first is not None
    assert made.slab == first
    with pytest.raises(ValueError, match="after one of"):
        made.hold_slab([5, 100])
    with pytest.raises(Internal):
        made.hold_slab(None)
    assert Slab(first[1]).geometry.slots == 4
    with pytest.raises(PermissionError):
        Slab(first[1], Geometry(4, 100))
    made.end()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first[0])
