"""Comparing two answers: the same as the prover's own comparison, and cheap."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.prover import comparison
from changeover.telemetry import pairing
from changeover.telemetry.evidence import FARTHEST, TOGETHER
from changeover.telemetry.pairing import Difference, Excerpt, PairCount, excerpt
from changeover.tensors import Datatype, Tensor, TensorSpec, from_numpy

NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 3e38, np.nan, np.inf, -np.inf])
SHAPES = st.sampled_from([(1, 4), (2, 2), (4, 1), (1, 4, 1), (1, 2, 2), (4,), (2, 2, 1)])


def excerpts(*outputs: Tensor, turn: int = 0) -> list[Excerpt]:
    """Of one answer."""
    return [excerpt(output, turn) for output in outputs]


def compare(active: list[Tensor], candidate: list[Tensor]) -> Difference:
    """Two answers."""
    return pairing.compare(excerpts(*active), excerpts(*candidate))


def both(active: np.ndarray, candidate: np.ndarray, datatype: Datatype | None = None) -> tuple[bool | None, float]:
    """What this and the prover say of one output; they must say the same."""
    ours, theirs = from_numpy("y", active, datatype), from_numpy("y", candidate, datatype)
    found = compare([ours], [theirs])
    spec = TensorSpec("y", ours.datatype, (-1,) * active.ndim)
    wanted = comparison.compare_output(spec, ours.numpy(), theirs.numpy())
    assert found[0] is wanted.flip
    assert found[1] == pytest.approx(wanted.error, abs=1e-6)
    farthest = (min(wanted.max_abs, FARTHEST.absolute), min(wanted.max_rel, FARTHEST.relative), wanted.cosine)
    assert found.apart == pytest.approx(farthest, rel=1e-6, abs=1e-6)
    return found[:2]


@given(SHAPES, st.lists(NUMBERS, min_size=8, max_size=8), st.sampled_from([np.float32, np.float64]), st.integers(1, 5))
def test_numbers_differ_as_the_prover_says(
    shape: tuple[int, ...], values: list[float], kind: type, most_classes: int
) -> None:
    """Also where they are not finite, or too large for a sum; and a row that is long for both has classes for none."""
    active, candidate = np.array(values[:4], kind).reshape(shape), np.array(values[4:], kind).reshape(shape)
    with patch.object(pairing, "MOST_CLASSES", most_classes), patch.object(comparison, "MOST_CLASSES", most_classes):
        flip, error = both(active, candidate)
    assert 0 <= error <= 1
    if max(shape[1:], default=0) > most_classes:
        assert flip is None


@pytest.mark.parametrize(("size", "has_classes"), [(1 << 18, True), ((1 << 18) + 1, False)])
def test_a_long_row_is_a_signal_and_no_scores(size: int, has_classes: bool) -> None:
    """For the judge and the gates alike: the loudest sample of a wave is nobody's class."""
    wave = np.zeros((1, size), np.float32)
    assert both(wave, wave) == (False if has_classes else None, 0.0)


@given(SHAPES, st.lists(st.integers(-3, 3), min_size=8, max_size=8))
def test_labels_differ_as_the_prover_says(shape: tuple[int, ...], values: list[int]) -> None:
    """A whole number alone in its row is a class."""
    active, candidate = np.array(values[:4], np.int64).reshape(shape), np.array(values[4:], np.int64).reshape(shape)
    _, error = both(active, candidate)
    assert (error == 0) is (values[:4] == values[4:])


def test_a_flip_is_another_best_class_in_any_row() -> None:
    """A changed score is none."""
    before = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert both(before, before) == (False, 0.0)
    assert both(before, before * 0.5) == (False, pytest.approx(1 / 3))
    assert both(before, before[:, ::-1].copy())[0]


def test_other_datatypes() -> None:
    """Half precision, BF16 by its bits, truth values, and texts by their elements."""
    halves = np.array([[1, 2], [3, 4]], np.float16)
    assert both(halves, halves[::-1].copy())[1] == pytest.approx(0.4)
    bits = np.array([[1.0, 2.0]], np.float32).view(np.uint32) >> 16
    tensor = [Tensor("y", Datatype.BF16, (1, 2), bits.astype(np.uint16).tobytes())]
    assert compare(tensor, tensor) == (False, 0.0, TOGETHER)
    assert both(np.array([True, False]), np.array([True, True]), Datatype.BOOL)[0]
    texts = np.array([b"a", b"bc"], object), np.array([b"a", b"bd"], object)
    assert compare([from_numpy("y", texts[0])], [from_numpy("y", texts[1])]) == (True, 0.5, TOGETHER)


def test_what_cannot_be_laid_side_by_side_is_as_different_as_can_be() -> None:
    """Another shape, another type, another number of outputs; nothing at all is equal to nothing."""
    one = from_numpy("y", np.ones((1, 4), np.float32))
    other = from_numpy("y", np.ones((1, 3), np.float32))
    assert compare([one], [other]) == (True, 1.0, FARTHEST)
    assert compare([one], [from_numpy("y", np.ones((1, 4), np.int32))]) == (True, 1.0, FARTHEST)
    assert compare([one], [one, one]) == (True, 1.0, FARTHEST)
    assert compare([], []) == (None, 0.0, TOGETHER)


@pytest.mark.parametrize(
    ("shape", "kind", "part", "flip"),
    [
        ((2, 3, 400, 400), np.float32, (2, 43_637), None),  # a mask: every eleventh element
        ((1 << 18,), np.float64, (1 << 17, 1), None),
        ((1 << 19, 1), np.int64, (1 << 17, 1), True),  # labels: every fourth
        ((4096, 100), np.float16, (1024, 100), True),  # scores: whole rows
        ((2, 1, 200_000), np.float32, (1, 200_000), True),  # of a large vocabulary
        ((1, 2_000_000), np.float32, (1, 117_648), None),  # a signal
    ],
)
def test_a_part_of_a_large_output(shape: tuple[int, ...], kind: type, part: tuple[int, int], flip: bool | None) -> None:
    """In memory of its own, with what classes there are; every element has its turn, and the two are the same ones."""
    values = np.random.default_rng(0).integers(-1000, 1000, shape).astype(kind)
    ours, theirs = from_numpy("y", values), from_numpy("y", -values)
    taken = excerpt(ours, 0)
    assert taken.part.shape == part
    assert not np.shares_memory(taken.part, values)
    step = math.ceil(values.size / taken.part.size)
    seen = np.concatenate([excerpt(ours, turn).part.ravel() for turn in range(step)])
    assert np.array_equal(np.sort(seen), np.sort(values.ravel()))
    for turn in (0, step - 1, step):
        assert pairing.compare(excerpts(ours, turn=turn), excerpts(ours, turn=turn))[:2] == (flip and False, 0.0)
        assert pairing.compare(excerpts(ours, turn=turn), excerpts(theirs, turn=turn))[:2] == (flip, 1.0)


@pytest.mark.parametrize("shape", [(1, 25_200, 85), (1, 512, 512, 21), (1, 102, 1000, 85), (1, 3, 640, 640)])
def test_each_part_has_some_of_every_column(shape: tuple[int, ...]) -> None:
    """Boxes of some hundred pixels stand beside scores of some hundredths: each pair says what the whole would say."""
    random = np.random.default_rng(0)
    scale = np.where(np.arange(shape[-1]) < 4, 1e3, 1e-2)
    values = (random.uniform(0.5, 1.0, shape) * scale).astype(np.float32)
    others = (values * np.where(scale < 1, 1.2, 1.0005)).astype(np.float32)
    ours, theirs = from_numpy("y", values), from_numpy("y", others)
    whole = np.abs(values - others).sum(dtype=float) / (values.sum(dtype=float) + others.sum(dtype=float))
    for turn in range(20):
        assert pairing.compare(excerpts(ours, turn=turn), excerpts(theirs, turn=turn)).error == pytest.approx(
            whole, rel=0.1
        )


def test_large_outputs_of_other_shapes() -> None:
    """What is taken of them may look alike."""
    flat = np.zeros(1 << 20, np.float32)
    assert compare([from_numpy("y", flat.reshape(1, 2, -1))], [from_numpy("y", flat.reshape(1, -1, 2))])[1] == 1.0


def test_the_worst_output_counts() -> None:
    """Errors are not averaged away by outputs that agree."""
    same = from_numpy("a", np.ones((1, 4), np.float32))
    ours, theirs = from_numpy("b", np.full((1, 4), 1, np.float32)), from_numpy("b", np.full((1, 4), 3, np.float32))
    assert compare([same, ours], [same, theirs]) == (False, 0.5, (2.0, 2.0, 1.0))


def test_pairs_are_counted_by_thousandths() -> None:
    """Rounded up, as the prover's: only equal answers are in step 0; answers with classes count as flips instead."""
    pairs = PairCount(1, 2)
    assert not pairs.is_news()
    base = from_numpy("y", np.array([[1.0, 0.0]], np.float32))
    pairs.add(excerpts(base), excerpts(from_numpy("y", np.array([[0.0, 1.0]], np.float32))))
    assert (pairs.compared, pairs.flips, sum(pairs.errors)) == (1, 1, 0)
    base = from_numpy("y", np.array([[1.0]], np.float32))
    for value in (1.0, 1.0001, 3.0):
        pairs.add(excerpts(base), excerpts(from_numpy("y", np.array([[value]], np.float32))))
    assert {step: n for step, n in enumerate(pairs.errors) if n} == {0: 1, 1: 1, 500: 1}
    assert (pairs.compared, pairs.flips) == (4, 1)
    assert pairs.apart == (2.0, FARTHEST.relative, 0.0)  # the flip was over a zero, and at a right angle
    assert pairs.is_news()
    assert not pairs.is_news()
