"""Who a request goes to: exact weights, keys that stay, pins and labels, and the switch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from changeover.errors import ModelNotReady, NotFound
from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Model, Table, Target
from changeover.transport.control import RoutingTable
from tests.gateway.stage import WORD, entry


def targets() -> dict[int, Target]:
    """Two loadings of a model, with batchers that nobody feeds."""
    made = {}
    for loading, version in ((1, "3"), (2, "4")):
        described = entry(loading, version)
        batcher = Batcher(described, None, None, None)  # type: ignore[arg-type]
        made[loading] = Target(described, WORD, batcher)
    return made


def table(epoch: int, candidate: int, known: dict[int, Target] | None = None, **more: Any) -> Table:
    """`candidate` buckets of 10,000 go to version 4, the others to version 3."""
    known = known or targets()
    entries = [t.entry for t in known.values()]
    buckets = [(count, loading) for count, loading in ((candidate, 2), (10_000 - candidate, 1)) if count]
    return Table(RoutingTable("m", WORD, epoch, buckets, entries, 1, candidate=2, **more), known)


def model(*tables: Table, in_force: int = 1) -> tuple[Model, memoryview]:
    """A model with these tables prepared, and the page."""
    words = memoryview(bytearray(64)).cast("Q")
    words[WORD] = in_force
    made = Model("m", WORD, words)
    made.prepared = {t.epoch: t for t in tables}
    return made, words


@pytest.mark.parametrize("percent", [1, 5, 25, 50])
def test_weights_are_exact(percent: int) -> None:
    """In 10,000 picks the candidate's share is its weight within 0.03 points."""
    routed, _ = model(table(1, percent * 100))
    picks = Counter(routed.pick(None, None)[0].version for _ in range(10_000))
    assert abs(picks["4"] / 100 - percent) <= 0.03


def test_weights_are_free_of_aliasing() -> None:
    """A client that sends every second request gets the same share as all: no counter decides."""
    routed, _ = model(table(1, 5000))
    picks = [routed.pick(None, None)[0].version for _ in range(10_000)]
    assert 0.45 < picks[::2].count("4") / 5000 < 0.55
    assert 0.45 < picks[1::2].count("4") / 5000 < 0.55


def test_a_key_stays_where_it_is() -> None:
    """The same key, the same version, as long as the table is the same."""
    routed, _ = model(table(1, 5000))
    for number in range(200):
        key = f"user-{number}".encode()
        assert len({routed.pick(None, key)[0].version for _ in range(5)}) == 1


def test_a_key_never_goes_back_while_the_share_grows() -> None:
    """From 1 % to 100 %: whoever reached the candidate stays there, and the shares of keys are about right."""
    keys = [f"user-{n}".encode() for n in range(5000)]
    known = targets()
    before: set[bytes] = set()
    for epoch, share in enumerate((100, 500, 2500, 5000, 10_000), 1):
        routed, _ = model(table(epoch, share, known), in_force=epoch)
        there = {k for k in keys if routed.pick(None, k)[0].version == "4"}
        assert before <= there
        assert abs(len(there) / 5000 - share / 10_000) < 0.03
        before = there


@pytest.mark.parametrize(("asked", "version"), [("3", "3"), ("4", "4"), ("active", "3"), ("candidate", "4")])
def test_a_pin_goes_where_it_says(asked: str, version: str) -> None:
    """A version's number or a label, whatever the weights."""
    routed, _ = model(table(1, 5000))
    assert {routed.pick(asked, None)[0].version for _ in range(20)} == {version}


def test_a_version_that_does_not_serve_is_not_found() -> None:
    """The sentence names those that do, and no lease is taken."""
    known = targets()
    routed, _ = model(table(1, 5000, known))
    with pytest.raises(NotFound, match="served: 3, 4") as refused:
        routed.pick("7", None)
    assert refused.value.reason == "version_not_found"
    assert [t.leases for t in known.values()] == [0, 0]


def test_a_label_of_a_role_that_nobody_has_is_not_found() -> None:
    """Without a candidate there is no version called so."""
    known = targets()
    record = RoutingTable("m", WORD, 1, [(10_000, 1)], [t.entry for t in known.values()], 1)
    routed, _ = model(Table(record, known))
    with pytest.raises(NotFound):
        routed.pick("candidate", None)


def test_the_next_pick_after_the_store_uses_the_new_table() -> None:
    """One store switches: no pick of the old table comes after it, and the old table is dropped."""
    known = targets()
    routed, words = model(table(1, 0, known), table(2, 10_000, known))
    assert routed.pick(None, None)[0].version == "3"
    words[WORD] = 2
    target, epoch, *_ = routed.pick(None, None)
    assert (target.version, epoch) == ("4", 2)
    assert list(routed.prepared) == [2]
    assert routed.last_old_pick_ns < routed.last_pick_ns


def test_without_a_table_the_model_is_not_ready() -> None:
    """Epoch 0 is none; an epoch that is not known here is asked for, and taken when it was found."""
    routed, words = model(in_force=0)
    with pytest.raises(ModelNotReady):
        routed.pick(None, None)
    words[WORD] = 5
    with pytest.raises(ModelNotReady):
        routed.pick(None, None)
    routed.on_missing = lambda _word, epoch: routed.prepared.update({epoch: table(epoch, 0)})
    assert routed.pick(None, None)[1] == 5


def test_leases_are_counted_and_their_end_is_told_once() -> None:
    """The last release of a target that no table names any more calls `on_idle`."""
    known = targets()
    routed, _ = model(table(1, 0, known))
    ended: list[Target] = []
    first = routed.pick(None, None)[0]
    routed.pick(None, None)
    assert first.leases == 2
    first.on_idle = ended.append
    first.release()
    assert ended == []
    first.release()
    assert ended == [first]


@pytest.mark.parametrize("every", [2, 3, 4, 5, 8, 10, 16, 25, 32, 50, 64])
def test_a_client_that_sends_every_kth_request_gets_the_share_of_all(every: int) -> None:
    """Whatever the number of clients that take turns: none sees one version only."""
    routed, _ = model(table(1, 2500))
    picks = [routed.pick(None, None)[0].version for _ in range(400 * every)]
    for turn in range(every):
        share = picks[turn::every].count("4") / 400
        assert 0.15 < share < 0.35, (every, turn)


def test_one_percent_is_one_request_in_each_round() -> None:
    """The candidate has the first buckets, all of one stratum: no round of 100 is without it or has it twice."""
    routed, _ = model(table(1, 100))
    picks = [routed.pick(None, None)[0].version for _ in range(5000)]
    assert {picks[at : at + 100].count("4") for at in range(0, 5000, 100)} == {1}


def test_a_part_of_a_round_is_exact_too() -> None:
    """At a half, of any ten requests that a round begins with or goes on with, five."""
    routed, _ = model(table(1, 5000))
    picks = [routed.pick(None, None)[0].version for _ in range(5000)]
    assert {picks[at : at + 10].count("4") for at in range(0, 5000, 10)} == {5}


def test_a_shield_leases_the_fallback_too() -> None:
    """The active version is held for as long as a replay may come, and let go with the request."""
    known = targets()
    routed, _ = model(table(1, 10_000, known, shield=True))
    target, _, fallback, tally = routed.pick(None, None)
    assert (target, fallback) == (known[2], known[1])
    assert tally is known[2].ledger.current is not None
    assert (known[1].leases, known[1].backing, known[1].held) == (0, 1, 1)
    ended: list[Target] = []
    known[1].on_idle = ended.append
    known[1].stand_down()
    assert ended == [known[1]]


def test_pins_and_labels_are_neither_shielded_nor_evidence() -> None:
    """Whoever names a version wants to see it as it is."""
    routed, _ = model(table(1, 5000, shield=True))
    for asked in ("4", "candidate", "active", "3"):
        assert routed.pick(asked, None)[2:] == (None, None)


def test_with_no_replays_left_the_candidate_is_spared() -> None:
    """Its requests go to the active version, are no evidence, and are told; a tenth of the rate earns it back."""
    known = targets()
    routed, _ = model(table(1, 10_000, known, shield=True))
    for _ in range(25):
        routed.budget.spend()
    picks = [routed.pick(None, None) for _ in range(5)]
    assert {(p[0].version, p[2], p[3]) for p in picks} == {("3", None, None)}
    assert known[2].ledger.current is not None
    assert known[2].ledger.current.spent == 5
    later = [routed.pick(None, None)[0].version for _ in range(60)]
    assert "4" in later


def test_what_is_compared_is_counted_by_epoch() -> None:
    """A table of one loading counts nothing; each step has a tally of its own."""
    known = targets()
    alone = Table(RoutingTable("m", WORD, 1, [(10_000, 1)], [known[1].entry], 1), {1: known[1]})
    routed, words = model(alone, table(2, 100, known), table(3, 500, known))
    assert routed.pick(None, None)[3] is None
    words[WORD] = 2
    first = routed.pick(None, b"key")[3]
    words[WORD] = 3
    second = routed.pick(None, b"key")[3]
    assert first is not None
    assert second is not None
    assert (first.epoch, second.epoch) == (2, 3)
