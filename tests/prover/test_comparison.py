"""Two answers, and how much they differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from changeover.prover.comparison import Comparison, classes, compare, compare_each, compare_output, numbers
from changeover.tensors import Datatype, TensorSpec

SCORES = TensorSpec("y", Datatype.FP32, (-1, 3))
VALUES = hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32))


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_equal_answers_differ_by_nothing() -> None:
    """NaN at the same place on both sides too."""
    answer = scores([1, 2, np.nan], [np.inf, 0, -1])
    assert compare_output(SCORES, answer, answer.copy()) == Comparison(False, 0.0, 0.0, 1.0, 0.0)


def test_errors_of_numbers() -> None:
    """By hand: 1 → 1.5 is 0.5 absolute, a half relative, and 0.5 of the 12.5 that lie there."""
    found = compare_output(SCORES, scores([1, 2, 3]), scores([1.5, 2, 3]))
    assert (found.flip, found.max_abs, found.max_rel) == (False, 0.5, 0.5)
    assert found.error == pytest.approx(0.5 / 12.5)
    assert found.cosine == pytest.approx(14.5 / math.sqrt(14 * 15.25))


def test_one_row_flips_an_answer() -> None:
    """A client that takes the best class would have acted otherwise for it."""
    before, after = scores([1, 2, 3], [3, 2, 1]), scores([1, 2, 3], [2, 3, 1])
    assert compare_output(SCORES, before, after).flip is True
    assert compare_output(SCORES, before, before * 2).flip is False


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_wholly_wrong(bad: float) -> None:
    """Unless the active version says the same."""
    found = compare_output(SCORES, scores([1, 2, 3]), scores([1, bad, 3]))
    assert (found.error, found.max_abs, found.cosine) == (1.0, math.inf, -1.0)


def test_another_shape_is_wholly_wrong() -> None:
    """There is nothing to lay side by side."""
    found = compare_output(SCORES, scores([1, 2, 3]), scores([1, 2, 3], [1, 2, 3]))
    assert (found.flip, found.error) == (True, 1.0)


def test_an_empty_answer_is_equal() -> None:
    """No rows, no difference."""
    assert compare_output(SCORES, scores().reshape(0, 3), scores().reshape(0, 3)).error == 0.0


def test_texts_differ_by_their_share() -> None:
    """One of four."""
    spec = TensorSpec("t", Datatype.BYTES, (-1,))
    before, after = np.array(["a", "b", "c", "d"], object), np.array(["a", "b", "c", "x"], object)
    found = compare_output(spec, before, after)
    assert (found.flip, found.error) == (True, 0.25)


def test_an_answer_is_as_bad_as_its_worst_output() -> None:
    """Each measure for itself; an output without classes has no say on flips."""
    picture = TensorSpec("p", Datatype.FP32, (-1, 2, 2))
    before = [scores([1, 2, 3]), np.ones((1, 2, 2), np.float32)]
    after = [scores([1, 2, 3]), np.zeros((1, 2, 2), np.float32)]
    found = compare([SCORES, picture], before, after)
    assert (found.flip, found.max_abs, found.error, found.cosine) == (False, 1.0, 1.0, 0.0)
    assert compare([picture], before[1:], after[1:]).flip is None
    assert compare([], [], []).error == 0.0


@pytest.mark.parametrize(
    ("datatype", "shape", "wanted"),
    [
        (Datatype.INT64, (2,), [0, 1]),
        (Datatype.INT64, (2, 1), [0, 1]),
        (Datatype.FP32, (2, 3), [2, 2]),
        (Datatype.FP32, (2, 3, 1, 1), [2, 2]),
        (Datatype.FP32, (2, 1), None),
        (Datatype.FP32, (2, 2, 2), None),
        (Datatype.INT32, (2, 3), None),
    ],
)
def test_the_class_of_a_row(datatype: Datatype, shape: tuple[int, ...], wanted: list[int] | None) -> None:
    """Labels as they are, the best of scores, and none of pictures, single numbers or many integers."""
    array = np.arange(math.prod(shape)).reshape(shape).astype(datatype.numpy)
    found = classes(TensorSpec("y", datatype, shape), array)
    assert (None if found is None else found.tolist()) == wanted


def test_bf16_is_compared_by_what_it_stands_for() -> None:
    """Its raw bits are no numbers: 1.0 and 2.0."""
    spec = TensorSpec("y", Datatype.BF16, (-1, 2))
    raw = np.array([[0x3F80, 0x4000]], np.uint16)
    assert numbers(spec, raw).tolist() == [[1.0, 2.0]]
    assert compare_output(spec, raw, raw[:, ::-1]).flip is True


@given(VALUES, VALUES)
def test_bounds_hold_for_all_numbers(before: np.ndarray, after: np.ndarray) -> None:
    """The error lies in [0, 1], the cosine in [-1, 1], and no measure is NaN."""
    found = compare_output(SCORES, before, after)
    assert 0.0 <= found.error <= 1.0
    assert -1.0 <= found.cosine <= 1.0
    assert found.max_abs >= 0.0
    assert found.max_rel >= 0.0
    assert (found.error == 0.0) == (found.max_abs == 0.0) or found.max_abs < 1e-30


def test_many_answers_at_once_are_compared_as_each_alone() -> None:
    """Whatever numbers there are, of scores and of a picture, and of texts beside them."""
    generator = np.random.default_rng(5)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e38, 1e-45, 0.3], np.float32)
    specs = [TensorSpec("picture", Datatype.FP32, (-1, 2, 2)), TensorSpec("y", Datatype.FP32, (-1, 4)),
             TensorSpec("text", Datatype.BYTES, (-1, 1))]  # fmt: skip
    for _ in range(100):
        active, candidate = (
            [numbers.reshape(5, 2, 2), numbers, generator.choice(np.array(["a", "b"], object), (5, 1))]
            for numbers in generator.choice(odd, (2, 5, 4))
        )
        if generator.random() < 0.3:
            candidate[:2] = active[:2]
        found = compare_each(specs, active, candidate)
        assert len(found) == 5
        for row, one in enumerate(found):
            alone = compare(specs, [a[row : row + 1] for a in active], [c[row : row + 1] for c in candidate])
            assert (one.flip, one.max_abs, one.max_rel) == (alone.flip, alone.max_abs, alone.max_rel)
            assert (one.cosine, one.error) == pytest.approx((alone.cosine, alone.error))


def test_answers_of_other_shapes_are_each_wholly_wrong() -> None:
    """One row of scores more or less is another answer."""
    assert (
        compare_each([SCORES], [np.zeros((2, 3), np.float32)], [np.zeros((2, 4), np.float32)])
        == [compare([SCORES], [np.zeros((1, 3), np.float32)], [np.zeros((1, 4), np.float32)])] * 2
    )
