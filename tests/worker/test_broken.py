"""Sequences kept wrongly on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from changeover.sequences.saved import Flag
from changeover.sequences.slab import Slab
from changeover.sequences.wire import Status, Verb
from changeover.transport.control import Fault
from changeover.worker import broken
from changeover.worker.records import Records, Step
from tests.worker.sequence_parts import SUM, ask, load, memory, running_sum


def made(tmp_path: Path, *kinds: Any) -> Records:
    """Records with faults, of one sequence that has made a step."""
    session = load(tmp_path, running_sum(), SUM)
    records = broken.records(memory(session.layout.geometry), session.layout, [Fault(kind) for kind in kinds])
    (step,) = records.begin([ask("a", 1, Flag.START)])
    assert isinstance(step, Step)
    assert records.commit(step, [], [], []).status is Status.OK
    records.end([ask("a", 1)])
    return records


@pytest.mark.parametrize(("kinds", "left"), [((), Status.MOVED), (("deaf",), Status.OK), (("slow",), Status.MOVED)])
def test_a_deaf_worker_goes_on_with_what_it_released(tmp_path: Path, kinds: tuple[str, ...], left: Status) -> None:
    """And any other one does not."""
    records = made(tmp_path, *kinds)
    assert records.answer(ask("a", 0, verb=Verb.RELEASE, to=9)).status is Status.OK
    (work,) = records.begin([ask("a", 2)])
    assert (Status.OK if isinstance(work, Step) else work.status) is left


def test_torn_steps_are_written_over_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one half only, and the word says the same for ever."""
    words: list[int] = []
    store = Slab._store
    monkeypatch.setattr(Slab, "_store", lambda slab, slot, word: (words.append(word), store(slab, slot, word)))
    for kinds, stores in ((("torn",), 0), ((), 1)):
        records = made(tmp_path, *kinds)
        words.clear()
        (step,) = records.begin([ask("a", 2)])
        assert isinstance(step, Step)
        records.commit(step, [], [], [])
        assert len(words) == stores
