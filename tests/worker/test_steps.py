"""Steps of sequences through a channel, with a real session and a real slab."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.errors import Internal
from changeover.runtime.stateless import Stateless
from changeover.sequences.declared import Controls, Declared, Initial, StateDeclared
from changeover.sequences.saved import Flag, Token, unpack
from changeover.sequences.wire import Status
from tests.worker.sequence_parts import SUM, Failed, Gateway, ask, load, memory, remembering, running_sum


@pytest.fixture
def session(tmp_path: Path) -> Stateless:
    """The model that sums up."""
    return load(tmp_path, running_sum(), SUM)


@pytest.fixture
def gateway(session: Stateless) -> Iterator[Gateway]:
    """A channel to its worker."""
    slab = memory(session.layout.geometry)
    made = Gateway(session, slab)
    yield made
    made.close()
    os.close(slab)


def test_each_sequence_goes_on_from_its_own_state(gateway: Gateway) -> None:
    """Steps of three sequences, some together and some alone, in different rows each time."""
    asks = [ask(name, 1, Flag.START) for name in ("a", "b", "c")]
    (y, _), told = gateway.step(asks, np.array([[1.0], [2.0], [3.0]], np.float32).repeat(4, 1))
    assert [t.status for t in told] == [Status.OK] * 3
    assert y[:, 0].tolist() == [1, 2, 3]
    (y, _), told = gateway.step([ask("c", 2), ask("a", 3)], np.array([[30.0], [10.0]], np.float32).repeat(4, 1))
    assert y[:, 0].tolist() == [33, 11]
    assert [(t.steps, t.since) for t in told] == [(2, 2), (2, 2)]
    assert gateway.one(ask("b", 4), 5.0)[0] == 7
    assert gateway.one(ask("c", 5), 1.0)[0] == 34


def test_control_inputs_tell_of_start_end_and_id(gateway: Gateway) -> None:
    """START and END as the client sets them, CORRID as a number."""
    asks = [ask(7, 1, Flag.START), ask(8, 2, Flag.START | Flag.END)]
    (_, told), _ = gateway.step(asks, np.ones((2, 4), np.float32))
    assert told.tolist() == [[1, 0, 7], [1, 1, 8]]
    (_, told), _ = gateway.step([ask(7, 3)], np.ones((1, 4), np.float32))
    assert told.tolist() == [[0, 0, 7]]


def test_a_step_that_is_sent_again_is_not_taken_again(gateway: Gateway) -> None:
    """By its token, or by the client's request id: the stored answer, and the state stays."""
    gateway.one(ask("a", 1, Flag.START))
    assert gateway.one(ask("a", 2, digest=b"r" * 16), 2.0)[0] == 3
    for again in (ask("a", 2), ask("a", 99, digest=b"r" * 16)):
        y, told = gateway.one(again, 2.0)
        assert (y, told.status) == (0, Status.DUPLICATE)
        assert unpack(told.body).answer[0].numpy()[0, 0] == 3
    assert gateway.one(ask("a", 3), 1.0)[0] == 4


def test_rows_that_do_not_run_hold_up_no_others(gateway: Gateway) -> None:
    """A duplicate and an unknown sequence beside a step: zeros in their rows, and the step is done."""
    gateway.one(ask("a", 1, Flag.START))
    asks = [ask("nobody", 5), ask("b", 6, Flag.START), ask("a", 1, Flag.START)]
    (y, _), told = gateway.step(asks, np.full((3, 4), 2, np.float32))
    assert [t.status for t in told] == [Status.UNKNOWN, Status.OK, Status.DUPLICATE]
    assert y[:, 0].tolist() == [0, 2, 0]


def test_the_next_worker_goes_on_where_the_last_one_was(session: Stateless) -> None:
    """Nothing but the slab is handed over."""
    slab = memory(session.layout.geometry)
    first = Gateway(session, slab)
    first.one(ask("a", 1, Flag.START), 5.0)
    first.close()
    second = Gateway(session, slab)
    assert second.one(ask("a", 1, Flag.START), 5.0)[1].status is Status.DUPLICATE
    assert second.one(ask("a", 2), 1.0)[0] == 6
    second.close()


def test_what_is_not_finite_is_no_step(session: Stateless) -> None:
    """The row is told so and commits nothing, the others are done; where the plan allows it, it is a step."""
    slab = memory(session.layout.geometry)
    strict = Gateway(session, slab)
    strict.step([ask("a", 1, Flag.START), ask("b", 2, Flag.START)], np.ones((2, 4), np.float32))
    rows = np.array([[np.nan] * 4, [1] * 4], np.float32)
    (y, _), told = strict.step([ask("a", 3), ask("b", 4)], rows)
    assert [t.status for t in told] == [Status.NOT_FINITE, Status.OK]
    assert y[:, 0].tolist() == [0, 2]
    assert strict.one(ask("a", 5), 1.0)[0] == 2
    lax = Gateway(session, slab, finite=False)
    assert np.isnan(lax.one(ask("a", 6), np.nan)[0])
    strict.close()
    lax.close()


def test_a_run_that_fails_commits_nothing(gateway: Gateway) -> None:
    """The failure is told as of any batch, and the sequence goes on from before."""
    gateway.one(ask("a", 1, Flag.START))
    with pytest.raises(Failed, match="run_failed"):
        gateway.step([ask("a", 2)], np.ones((1, 3), np.float32))
    assert gateway.one(ask("a", 2), 1.0)[0] == 2


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (2, {"hn": (2, 1, 4)}), (2, {"hn": (2,)}), (2, {"hn": ()}), (2, {"hn": (2, 3, 4)}), (2, {"hn": (2, 2, 5)}),
        (2, {"y": ()}), (2, {"y": (3, 4)}), (1, {"hn": ()}), (1, {"hn": (2, 2, 4)}), (1, {"told": ()}),
    ],
)  # fmt: skip
def test_a_session_whose_shapes_are_not_the_declared_ones_fails_its_run(
    gateway: Gateway, session: Stateless, monkeypatch: pytest.MonkeyPatch, rows: int, wrong: dict[str, Any]
) -> None:
    """The worker lives on and nothing is committed, for one step and for several."""
    asks = [ask(name, 1, Flag.START) for name in "ab"[:rows]]
    gateway.step(asks, np.ones((rows, 4), np.float32))
    shapes = {"y": (rows, 4), "told": (rows, 3), "hn": (2, rows, 4), **wrong}
    with monkeypatch.context() as patch:
        answer = [np.zeros(shapes[spec.name], np.float32) for spec in session.whole.outputs]
        patch.setattr(session.whole, "run_feeds", lambda feeds: answer)
        again = [one._replace(token=Token(1, 2), flags=Flag(0)) for one in asks]
        with pytest.raises(Failed, match="output_undeclared"):
            gateway.step(again, np.ones((rows, 4), np.float32))
    assert gateway.one(ask("a", 3), 1.0)[0] == 2


def test_records_that_do_not_match_their_rows_break_the_channel(gateway: Gateway) -> None:
    """Neither too few rows nor two steps of one sequence."""
    with pytest.raises(Internal, match="do not match"):
        gateway.step([ask("a", 1, Flag.START)], np.ones((2, 4), np.float32))
    with pytest.raises(Internal, match="two steps of one"):
        gateway.step([ask("a", 1, Flag.START), ask("a", 2)], np.ones((2, 4), np.float32))


def test_sequences_begin_with_the_declared_state(tmp_path: Path) -> None:
    """Numbers of the plan, also where a whole batch begins."""
    state = StateDeclared("h", "hn", Initial(data=tuple(float(at) for at in range(8))))
    begun = load(tmp_path, running_sum(), Declared((state,), Controls(start="START", end="END", corrid="ID")))
    gateway = Gateway(begun, memory(begun.layout.geometry))
    (y, _), _ = gateway.step([ask("a", 1, Flag.START), ask("b", 2, Flag.START)], np.ones((2, 4), np.float32))
    assert y.tolist() == [[1, 2, 3, 4]] * 2
    gateway.close()


def test_runs_of_their_own_have_a_record_each(gateway: Gateway) -> None:
    """As for a model whose rows must not share a batch."""
    asks = [ask("a", 1, Flag.START), ask("nobody", 2), ask("b", 3, Flag.START)]
    (y, _), told = gateway.step(asks, np.array([[1.0], [2.0], [3.0]], np.float32).repeat(4, 1), runs=3)
    assert [t.status for t in told] == [Status.OK, Status.UNKNOWN, Status.OK]
    assert y[:, 0].tolist() == [1, 0, 3]


def test_the_last_inputs_are_kept_for_a_replay(tmp_path: Path) -> None:
    """As many as declared, the oldest first."""
    declared = Declared((StateDeclared("h", "hn"),), SUM.control, replay=2)
    kept = load(tmp_path, running_sum(), declared)
    gateway = Gateway(kept, memory(kept.layout.geometry))
    for number in range(1, 5):
        gateway.one(ask("a", number, Flag.START if number == 1 else Flag(0)), float(number))
    record = gateway.slab.find(ask("a", 1).key)
    assert record is not None
    assert [step[0].numpy()[0, 0] for step in record.saved.inputs] == [3, 4]
    gateway.close()


def test_states_that_grow_go_together_by_their_size(tmp_path: Path) -> None:
    """Sequences of different lengths in one message, until one of them has no room left."""
    session = load(tmp_path, remembering(), Declared((StateDeclared("h", "hn", max=3),)))
    gateway = Gateway(session, memory(session.layout.geometry))
    gateway.step([ask("a", 1, Flag.START)], np.full((1, 4), 1, np.float32))
    gateway.step([ask("a", 2)], np.full((1, 4), 2, np.float32))
    asks = [ask("b", 3, Flag.START), ask("a", 4), ask("c", 5, Flag.START)]
    (y,), told = gateway.step(asks, np.array([[10.0], [20.0], [30.0]], np.float32).repeat(4, 1))
    assert y[:, 0].tolist() == [10, 23, 30]
    (y,), told = gateway.step([ask("a", 6), ask("b", 7)], np.ones((2, 4), np.float32))
    assert [one.status for one in told] == [Status.TOO_LARGE, Status.OK]
    assert y[:, 0].tolist() == [0, 11]
    record = gateway.slab.find(ask("a", 1).key)
    assert record is not None
    assert record.saved.states[0].shape == (1, 3, 4)
    gateway.close()
