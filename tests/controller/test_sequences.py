"""What operators ask about sequences: real slabs, and a worker that answers from a script."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass, field, replace
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from changeover.controller.drivers import Drivers
from changeover.controller.sequence_bodies import SequenceExport
from changeover.controller.sequences import Sequences
from changeover.controller.visits import Visits
from changeover.errors import Conflict, Internal, InvalidRequest, NotFound, Unavailable
from changeover.rollout.driver import Driver
from changeover.sequences.declared import Layout, StateLayout
from changeover.sequences.geometry import Geometry
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import Ask, Status, Told, Verb, sequence_key, sequence_tag
from changeover.tensors import Tensor, from_numpy
from changeover.transport.page import sealed_memfd
from tests.rollout.stage import until
from tests.sequences.test_mapping import MADE_UP

LAYOUT = Layout([StateLayout("h", "hn", "FP32", [1, 4], 0, 4)], [], 60.0, 10, "carry", 0, 16, 4096)


@dataclass
class Workers:
    """Slabs by loading, and what was asked."""

    slabs: dict[int, Slab] = field(default_factory=dict)
    asked: list[tuple[int, Ask]] = field(default_factory=list)
    told: Told = field(default_factory=lambda: Told(Status.OK))
    away: bool = False

    async def slab(self, loading: int) -> Slab | None:
        if self.away:
            raise Unavailable("away", reason="worker_away")
        return self.slabs.get(loading)

    async def ask(self, loading: int, asks: list[Ask]) -> list[Told]:
        self.asked += [(loading, ask) for ask in asks]
        return [self.told] * len(asks)

    def known(self, loading: int) -> Slab | None:
        return self.slabs.get(loading)

    def add(self, loading: int, slot: int, name: int | str, *, mark: Mark = Mark.LIVE, steps: int = 3) -> None:
        """A committed step of a sequence."""
        slab, tag = self.slabs[loading], sequence_tag(name)
        state = from_numpy("h", np.full((1, 4), steps, np.float32))
        data = Saved(Token(1, 1), NO_DIGEST, Flag(0), 7, 2, steps, (state,)).pack()
        slab.claim(slot, sequence_key(tag), tag)
        slab.commit(slot, data, monotonic_ns() - 1_500_000_000)
        if mark is not Mark.LIVE:
            slab.mark(slot, mark)
        slab.count(1)


def slab() -> Slab:
    fd = sealed_memfd("test-slab", LAYOUT.geometry.total)
    LAYOUT.geometry.lay_out(fd)
    made = Slab(fd, LAYOUT.geometry)
    os.close(fd)
    return made


def loading(number: int, layout: Layout | None = LAYOUT) -> Any:
    return SimpleNamespace(number=number, version=number, digest="ab" * 32, entry=SimpleNamespace(sequence=layout))


class House:
    """The model `m`: version 1 serves, version 2 is its candidate."""

    def __init__(self) -> None:
        self.workers = Workers({1: slab(), 2: slab()})
        active, candidate = loading(1), loading(2)
        self.driver = SimpleNamespace(loader=SimpleNamespace(live={1: active, 2: candidate}), active=active)
        other = SimpleNamespace(loader=SimpleNamespace(live={3: loading(3, None)}), active=None)
        self.drivers = {"m": self.driver, "other": other}
        known = SimpleNamespace(known=self.drivers.__getitem__)
        self.sequences = Sequences(cast(Drivers, known), cast(Visits, self.workers))


@pytest.fixture
def house() -> House:
    made = House()
    made.workers.add(1, 0, 42)
    made.workers.add(1, 1, "42", steps=9)
    made.workers.add(1, 2, 7, mark=Mark.EXPIRED)
    made.workers.add(2, 0, 5)
    return made


def test_all_live_ones_of_all_versions(house: House) -> None:
    """Numbers before texts; what has ended is left out."""
    found = asyncio.run(house.sequences.listed("m"))
    assert [(row.id, row.version, row.steps, row.since, row.bytes) for row in found.sequences] == [
        (5, "2", 3, 2, 16), (42, "1", 3, 2, 16), ("42", "1", 9, 2, 16),
    ]  # fmt: skip
    assert (found.live, found.max) == (3, {"1": 10, "2": 10})
    assert found.sequences[0].idle_s >= 1.5


@pytest.mark.parametrize("tag", [b"\x03x", b"\x01x", b"\x02\xff", b"", b"\x01" + b"9" * 40, b"\x01-5"])
def test_an_id_that_is_none_keeps_nobody_from_seeing_the_others(house: House, tag: bytes) -> None:
    """A worker runs other people's files, and may write into its slab what it likes."""
    slab = house.workers.slabs[1]
    slab.claim(5, bytes(16), tag)
    slab.commit(5, Saved(Token(1, 1), NO_DIGEST, Flag(0), 7, 2, 3).pack(), monotonic_ns())
    assert [row.id for row in asyncio.run(house.sequences.listed("m")).sequences] == [5, 42, "42"]


def test_a_slab_of_another_geometry_is_not_read(house: House) -> None:
    """What the version said of itself when it was loaded counts."""
    other = Geometry(4, 9_000)
    house.workers.slabs[1] = Slab(sealed_memfd("test-slab", other.total), other)
    for asked in (house.sequences.listed("m"), house.sequences.show("m", 42)):
        with pytest.raises(Internal, match="another geometry"):
            asyncio.run(asked)


def test_the_tensors_of_others_are_not_copied(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list copies nobody's, and a look at one sequence those of that one."""
    copied, record = list[int](), Slab.record
    monkeypatch.setattr(Slab, "record", lambda slab, slot: copied.append(slot) or record(slab, slot))
    asyncio.run(house.sequences.listed("m"))
    assert not copied
    assert asyncio.run(house.sequences.show("m", "42")).sequence.steps == 9
    assert copied == [1]


def test_one_with_its_states(house: House) -> None:
    """A number and a text of the same digits are two sequences."""
    shown = asyncio.run(house.sequences.show("m", "42"))
    assert (shown.sequence.steps, [(s.name, s.datatype, s.shape) for s in shown.states]) == (
        9, [("h", "FP32", [1, 4])],
    )  # fmt: skip


@pytest.mark.parametrize("name", [7, 8, "5"])
def test_what_does_not_live_is_not_found(house: House, name: int | str) -> None:
    """Expired, never begun, another type."""
    for call in (house.sequences.show, house.sequences.end, house.sequences.export):
        with pytest.raises(NotFound) as missing:
            asyncio.run(call("m", name))
        assert missing.value.reason == "sequence_not_found"


def test_a_model_without_sequences(house: House) -> None:
    """It has none, and its status counts none."""
    with pytest.raises(NotFound) as missing:
        asyncio.run(house.sequences.listed("other"))
    assert missing.value.reason == "no_sequences"
    assert house.sequences.counts(cast(Driver, house.drivers["other"])) is None


@pytest.mark.parametrize("name", [0, -1, "", "x" * 129])
def test_an_impossible_id(house: House, name: int | str) -> None:
    """Refused before anybody is asked."""
    with pytest.raises(InvalidRequest):
        asyncio.run(house.sequences.show("m", name))


def test_an_end_is_asked_of_the_version_that_has_it(house: House) -> None:
    """Its worker is the only one who writes there."""
    ended = asyncio.run(house.sequences.end("m", 5))
    ((number, ask),) = house.workers.asked
    assert (number, ask.verb, ask.key) == (2, Verb.FORGET, sequence_key(sequence_tag(5)))
    assert (ended.version, ended.became) == ("2", "ended")
    house.workers.told = Told(Status.UNKNOWN)
    with pytest.raises(NotFound):
        asyncio.run(house.sequences.end("m", 5))


def moved(house: House, name: int | str) -> SequenceExport:
    """An export of a sequence, under another name."""
    document = asyncio.run(house.sequences.export("m", 42))
    return msgspec.structs.replace(document, id=name)


def test_what_is_exported_can_be_imported(house: House) -> None:
    """Into the active version, younger than anything that is remembered of that id."""
    asyncio.run(house.sequences.bring("m", moved(house, 43)))
    ((number, ask),) = house.workers.asked
    assert (number, ask.verb, ask.tag) == (1, Verb.IMPORT, sequence_tag(43))
    assert ask.generation > 7
    brought = unpack(ask.body)
    assert (brought.steps, brought.token, brought.states[0].numpy().tolist()) == (3, Token(), [[3, 3, 3, 3]])


@pytest.mark.parametrize("name", [42, 5])
def test_a_living_sequence_is_not_replaced(house: House, name: int) -> None:
    """In whichever version it lives."""
    with pytest.raises(Conflict) as refused:
        asyncio.run(house.sequences.bring("m", moved(house, name)))
    assert (refused.value.reason, house.workers.asked) == ("sequence_live", [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"form": "another/1"}, "sequence_malformed"),
        ({"saved": "no base64!"}, "sequence_malformed"),
        ({"saved": base64.b64encode(b"nonsense").decode()}, "sequence_malformed"),
    ],
)
def test_what_is_no_export_is_refused(house: House, changes: dict[str, str], reason: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(InvalidRequest) as refused:
        asyncio.run(house.sequences.bring("m", msgspec.structs.replace(moved(house, 43), **changes)))
    assert refused.value.reason == reason


def test_another_layout_is_refused(house: House) -> None:
    """The sentence names the state."""
    document = moved(house, 43)
    house.driver.active.entry.sequence = msgspec.structs.replace(
        LAYOUT, states=[StateLayout("h", "hn", "FP32", [1, 8], 0, 8)]
    )
    with pytest.raises(InvalidRequest, match=r"\[1, 4\] instead of \[1, 8\]") as refused:
        asyncio.run(house.sequences.bring("m", document))
    assert refused.value.reason == "state_unfit"


@pytest.mark.parametrize("odd", MADE_UP)
def test_a_state_that_is_not_what_it_says_is_refused(house: House, odd: Tensor) -> None:
    """An export may have been written by anybody."""
    document = moved(house, 43)
    saved = replace(unpack(base64.b64decode(document.saved)), states=(odd,))
    changed = msgspec.structs.replace(document, saved=base64.b64encode(saved.pack()).decode())
    with pytest.raises(InvalidRequest, match="not what it says") as refused:
        asyncio.run(house.sequences.bring("m", changed))
    assert refused.value.reason == "state_unfit"


@pytest.mark.parametrize(("status", "reason"), [(Status.FULL, "sequence_no_room"), (Status.BAD_STATE, "state_unfit")])
def test_a_worker_that_does_not_take_it(house: House, status: Status, reason: str) -> None:
    """Its answer becomes an error of the control port."""
    house.workers.told = Told(status, body=b"it does not fit")
    with pytest.raises((Conflict, InvalidRequest)) as refused:
        asyncio.run(house.sequences.bring("m", moved(house, 43)))
    assert refused.value.reason == reason


def test_no_version_serves(house: House) -> None:
    """There is nobody who could take it."""
    document = moved(house, 43)
    house.driver.active = None
    with pytest.raises(NotFound):
        asyncio.run(house.sequences.bring("m", document))


def test_counts_for_the_status(house: House) -> None:
    """Of the slabs that are at hand; one that cannot be had keeps no status from being shown."""
    driver = cast(Driver, house.driver)
    assert house.sequences.counts(driver) == {"live": 2, "by_version": {"1": 1, "2": 1}}
    house.driver.loader.live[2].version = 1  # the same number with other bytes
    assert house.sequences.counts(driver) == {"live": 2, "by_version": {"1": 2}}
    house.driver.loader.live[2].version = 2
    house.workers.away = True
    asyncio.run(house.sequences.look(driver))
    house.workers.slabs.pop(2)
    assert house.sequences.counts(driver) == {"live": 1, "by_version": {"1": 1}}


def test_a_rollout_may_load_and_release_while_its_model_is_looked_at() -> None:
    """What lives changes while a worker is asked; and all are asked at once, so a silent one costs its time once."""
    house = House()
    asked: list[int] = []

    async def slab(loading_number: int) -> Slab | None:
        asked.append(loading_number)
        await until(lambda: len(asked) == 2)
        house.driver.loader.live[9] = loading(9)
        house.driver.loader.live.pop(1, None)
        return house.workers.slabs[loading_number]

    house.workers.slab = slab  # type: ignore[method-assign]
    asyncio.run(house.sequences.look(cast(Driver, house.driver)))
    assert asked == [1, 2]
    assert house.driver.loader.live.keys() == {2, 9}
