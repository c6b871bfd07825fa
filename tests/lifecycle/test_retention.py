"""What may be removed: never what is in use, and of the rest the oldest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from changeover.lifecycle.retention import Graph, expendable, least_used
from changeover.records.versions import VersionUse


def uses(*rows: tuple[str, int, str, bool]) -> list[VersionUse]:
    """Model, version, when it was used, whether it served; the digest tells model and version."""
    return [VersionUse(model, version, f"{model}{version}", used, served) for model, version, used, served in rows]


def gone(known: list[VersionUse], in_use: set[str], keep: int) -> list[str]:
    return expendable(known, {use.digest for use in known}, in_use, keep)


def test_the_versions_used_last_are_kept() -> None:
    """By the time of their use, not by their number."""
    known = uses(("m", 1, "t4", True), ("m", 2, "t1", True), ("m", 3, "t3", True), ("m", 4, "t2", True))
    assert gone(known, set(), 2) == ["m2", "m4"]


def test_what_is_in_use_counts_and_stays() -> None:
    """The active version may have been idle for longest; it takes one of the places."""
    known = uses(("m", 1, "t1", True), ("m", 2, "t2", True), ("m", 3, "t3", True))
    assert gone(known, {"m1"}, 2) == ["m2"]
    assert gone(known, {"m1", "m2", "m3"}, 2) == []
    assert gone(known, {"m1"}, 0) == ["m2", "m3"]


def test_refused_versions_count_apart() -> None:
    """Ten bad pushes do not cost the good versions, and are not kept for ever either."""
    good = uses(*[("m", n, f"t{n:02}", True) for n in range(1, 4)])
    bad = uses(*[("m", n, f"t{n:02}", False) for n in range(4, 14)])
    assert gone(good + bad, set(), 3) == sorted(f"m{n}" for n in range(4, 11))


def test_the_highest_of_the_never_tried_are_kept() -> None:
    """A first start records folder 20 first and folder 1 last: what is kept are the highest numbers all the same."""
    known = [*uses(("m", 20, "t00", True)), *uses(*[("m", n, f"t{20 - n:02}", False) for n in range(1, 20)])]
    assert gone(known, {"m20"}, 5) == sorted(f"m{n}" for n in range(1, 15))


def test_of_one_number_that_never_served_the_last_bytes_are_kept() -> None:
    """The same number, refused three times with other bytes."""
    known = [VersionUse("m", 3, digest, used, served=False) for digest, used in (("b", "t2"), ("c", "t3"), ("a", "t1"))]
    assert gone(known, set(), 1) == ["a", "b"]


def test_each_model_has_its_own_places() -> None:
    """A busy model costs a quiet one nothing; bytes that two models share stay for either of them."""
    known = [*uses(*[("busy", n, f"t{n}", True) for n in range(1, 5)], ("quiet", 1, "t0", True))]
    shared = VersionUse("quiet", 2, "busy1", "t0", True)
    assert gone([*known, shared], set(), 2) == ["busy2"]


def test_what_nobody_knows_goes() -> None:
    """Sealed, and then the controller was killed before it was recorded; unless somebody holds it."""
    assert expendable([], {"a", "b"}, {"b"}, 5) == ["a"]


def test_what_is_not_there_cannot_go() -> None:
    """It was removed before."""
    known = uses(*[("m", n, f"t{n}", True) for n in range(1, 5)])
    assert expendable(known, {"m4", "m2"}, set(), 1) == ["m2"]


DIGESTS = st.sampled_from("abcdefgh")
USES = st.builds(
    VersionUse, st.sampled_from("mn"), st.integers(1, 9), DIGESTS, st.text("0123456789", max_size=3), st.booleans()
)


@given(st.lists(USES, max_size=30), st.sets(DIGESTS), st.sets(DIGESTS), st.integers(0, 6))
def test_nothing_in_use_is_ever_chosen(known: list[VersionUse], present: set[str], in_use: set[str], keep: int) -> None:
    """Whatever is known and wherever it lies; and enough of what served is left."""
    going = set(expendable(known, present, in_use, keep))
    assert not going & in_use
    assert going <= present
    assert present - going >= in_use & present
    for model in "mn":
        served = sorted({use.used for use in known if use.model == model and use.served})[-1:]
        last = {use.digest for use in known if use.model == model and use.served and use.used in served}
        if keep and len(last) == 1 and not in_use:
            assert not going & last


def test_the_cache_loses_what_was_unused_for_longest() -> None:
    """As many as it takes, oldest first; a limit of 0 empties it."""
    graphs = [Graph(name, 10, used) for name, used in (("new", 9), ("old", 1), ("middle", 5))]
    assert [g.name for g in least_used(graphs, 30)] == []
    assert [g.name for g in least_used(graphs, 29)] == ["old"]
    assert [g.name for g in least_used(graphs, 10)] == ["old", "middle"]
    assert len(least_used(graphs, 0)) == 3


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12), st.integers(0, 200))
def test_the_cache_is_within_its_limit_afterwards(rows: list[tuple[int, int]], limit: int) -> None:
    """And what went was used no later than what stays."""
    graphs = [Graph(str(i), size, used) for i, (size, used) in enumerate(rows)]
    going = least_used(graphs, limit)
    staying = [graph for graph in graphs if graph not in going]
    assert sum(graph.size for graph in staying) <= limit
    assert not going or not staying or max(g.used_ns for g in going) <= min(g.used_ns for g in staying)
