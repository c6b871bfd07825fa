"""What the supervisor knows of a loading."""

from __future__ import annotations

import os

import pytest

from changeover.errors import Internal
from changeover.sequences.geometry import Geometry
from changeover.sequences.slab import Slab
from changeover.supervisor.loading import Loading
from changeover.transport.channel import ChannelSize
from tests.descriptors import held


def loading() -> Loading:
    return Loading(7, {"model": "m", "verify": True})


def test_states_are_reached_in_order_and_once() -> None:
    """The next one may be left out, none comes back."""
    made = loading()
    made.reach(0)
    made.reach(3)
    with pytest.raises(ValueError, match="state loading after ready"):
        made.reach(1)


def test_what_the_first_worker_took_bounds_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times as long, at least 10 s; a replacement's own time changes nothing."""
    monkeypatch.setattr("changeover.supervisor.loading.monotonic", lambda: 1000.0)
    made = loading()
    assert made.patience == 10.0
    made.proven(ChannelSize(3, 64, 64), {}, 992.0)
    assert made.patience == 40.0
    made.proven(ChannelSize(3, 64, 64), {}, 200.0)
    assert made.patience == 40.0
    assert made.spec == {"model": "m", "verify": False, "signature": {}}


def test_a_life_counts_from_being_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes long to load and dies at once has not lived."""
    now = [1000.0]
    monkeypatch.setattr("changeover.supervisor.loading.monotonic", lambda: now[0])
    made = loading()
    assert made.lived == 0.0
    made.proven(ChannelSize(3, 64, 64), {}, 940.0)
    assert made.lived == 0.0
    now[0] += 4.0
    assert made.lived == 4.0


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


def test_a_slab_that_cannot_be_made_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is killed for it, and the next one asks again, and again."""

    def refuse(_: int) -> int:
        raise OSError(24, "Too many open files")

    made, before = loading(), held()
    monkeypatch.setattr("changeover.transport.page.read_only", refuse)
    with pytest.raises(OSError, match="Too many"):
        made.hold_slab([4, 100])
    assert (made.slab, made.geometry) == (None, None)
    assert not held() - before
    monkeypatch.undo()
    made.hold_slab([4, 100])
    assert made.slab is not None
    made.end()
