"""Changes of a signature, each with an adapter: the answers are those that the same adaptation in numpy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.interface.adapting import (
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    adapted,
    image_model,
    image_scores,
    model,
    node,
    run,
    shapes,
)

ROWS = np.random.default_rng(7)


@pytest.mark.parametrize(("opset", "ir"), [(8, 3), (12, 7), (17, 8), (21, 10)])
def test_doubles_of_rank_3_for_floats_of_rank_4(opset: int, ir: int) -> None:
    """Clients send FP64 [N, 4, 4], the model takes FP32 [N, 1, 4, 4]; of any operator set and format."""
    plain = image_model(opset=opset, ir=ir)
    made = adapted(plain, {"unsqueeze": {"image": [1]}}, {"cast": {"image": "FP64"}, "allow_lossy": True})
    assert shapes(made)["image"] == (DOUBLE, ["N", 4, 4])
    images = ROWS.random((3, 4, 4))
    np.testing.assert_allclose(run(made, image=images)["scores"], image_scores(plain, images), rtol=1e-5, atol=1e-6)


def test_channels_last_for_channels_first() -> None:
    """Clients send NHWC, the model takes NCHW."""
    plain = model([node("Mul", "x", "k", "y")], [("x", FLOAT, ["N", 3, 4, 5])], [("y", FLOAT, ["N", 3, 4, 5])],
                  k=np.arange(3, dtype=np.float32).reshape(3, 1, 1))  # fmt: skip
    made = adapted(plain, {"transpose": {"x": [0, 3, 1, 2]}}, {"transpose": {"y": [0, 2, 3, 1]}})
    assert shapes(made) == {"x": (FLOAT, ["N", 4, 5, 3]), "y": (FLOAT, ["N", 4, 5, 3])}
    images = ROWS.random((2, 4, 5, 3), np.float32)
    np.testing.assert_array_equal(run(made, x=images)["y"], images * np.arange(3, dtype=np.float32))


def test_other_names() -> None:
    """Input and output are called otherwise, also by a name that something inside the model has."""
    plain = image_model()
    made = adapted(plain, {"rename": {"image": "flat"}}, {"rename": {"scores": "raw"}})
    assert set(shapes(made)) == {"flat", "raw"}
    images = ROWS.random((2, 1, 4, 4), np.float32)
    np.testing.assert_allclose(run(made, flat=images)["raw"], image_scores(plain, images), rtol=1e-5, atol=1e-6)


def test_names_in_exchange() -> None:
    """Two inputs swap their names, by a third."""
    plain = model([node("Sub", "a", "b", "y")], [("a", FLOAT, ["N"]), ("b", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    made = adapted(plain, {"rename": {"a": "spare"}}, {"rename": {"b": "a"}}, {"rename": {"spare": "b"}})
    assert run(made, a=np.float32([1, 2]), b=np.float32([5, 7]))["y"].tolist() == [4, 5]


def test_pixels_of_one_byte() -> None:
    """Clients send 0 to 255 in UINT8, the model takes 0 to 1 with mean and standard deviation of each channel."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", 3, 2, 2])], [("y", FLOAT, ["N", 3, 2, 2])])
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    made = adapted(plain, {"scale": {"x": {"scale": 1 / 255, "mean": mean, "std": std}}}, {"cast": {"x": "UINT8"}})
    images = ROWS.integers(0, 256, (2, 3, 2, 2)).astype(np.uint8)
    shape = (3, 1, 1)
    wanted = (images / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    np.testing.assert_allclose(run(made, x=images)["y"], wanted, rtol=1e-5, atol=1e-6)


def test_a_new_input() -> None:
    """The model has one input more, in every row the same, and clients send it not."""
    plain = model([node("Mul", "x", "t", "m"), node("Add", "m", "one", "y")],
                  [("x", FLOAT, ["N", 4]), ("t", FLOAT, ["N", 1]), ("one", FLOAT, [])],
                  [("y", FLOAT, ["N", 4])])  # fmt: skip
    made = adapted(plain, {"default": {"t": 2.5, "one": 1}}, {"cast": {"x": "FP64"}, "allow_lossy": True})
    assert set(shapes(made)) == {"x", "y"}
    rows = ROWS.random((5, 4))
    np.testing.assert_allclose(run(made, x=rows)["y"], rows * 2.5 + 1, rtol=1e-6)


def test_a_new_input_has_the_rows_of_its_own_dimension() -> None:
    """Not of another input whose first dimension is free too; wherever that dimension stands."""
    plain = model([node("Mul", "x", "m", "y"), node("Neg", "ids", "z")],
                  [("ids", FLOAT, ["t"]), ("x", FLOAT, ["b", 2]), ("m", FLOAT, ["b", 2])],
                  [("y", FLOAT, ["b", 2]), ("z", FLOAT, ["t"])])  # fmt: skip
    made = adapted(plain, {"default": {"m": 1.0}})
    found = run(made, ids=np.zeros(3, np.float32), x=np.float32([[5, 6]]))
    assert found["y"].tolist() == [[5, 6]]
    plain = model([node("Transpose", "x", "r", perm=[1, 0]), node("Mul", "r", "m", "y")],
                  [("x", FLOAT, [2, "b"]), ("m", FLOAT, ["b", 2])], [("y", FLOAT, ["b", 2])])  # fmt: skip
    made = adapted(plain, {"default": {"m": 2.0}})
    assert run(made, x=np.float32([[1, 2, 3], [4, 5, 6]]))["y"].tolist() == [[2, 8], [4, 10], [6, 12]]


def test_a_new_input_of_rows_without_a_name() -> None:
    """A first dimension that is free and has no name is the batch of all of that kind."""
    plain = model([node("Mul", "x", "m", "y")], [("x", FLOAT, [None, 2]), ("m", FLOAT, [None, 2])],
                  [("y", FLOAT, [None, 2])])  # fmt: skip
    made = adapted(plain, {"default": {"m": 3.0}})
    assert run(made, x=np.float32([[1, 2], [3, 4]]))["y"].tolist() == [[3, 6], [9, 12]]


def test_a_new_input_of_text_or_a_list() -> None:
    """A default may be text, or one value an element."""
    plain = model([node("Identity", "s", "said"), node("Add", "x", "v", "y")],
                  [("x", FLOAT, ["N", 3]), ("v", FLOAT, ["N", 3]), ("s", 8, [2])],
                  [("y", FLOAT, ["N", 3]), ("said", 8, [2])])  # fmt: skip
    made = adapted(plain, {"default": {"v": [1, 2, 3], "s": ["de", "en"]}})
    found = run(made, x=np.zeros((2, 3), np.float32))
    assert found["y"].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert found["said"].tolist() == ["de", "en"]


def test_an_input_that_is_gone() -> None:
    """Clients go on sending an input that the model has no more."""
    plain = image_model()
    made = adapted(plain, {"ignore": {"mask": {"datatype": "INT64", "shape": [-1, 4]}}})
    assert shapes(made)["mask"] == (INT64, ["N", 4])
    images = ROWS.random((2, 1, 4, 4), np.float32)
    found = run(made, image=images, mask=np.zeros((2, 4), np.int64))["scores"]
    np.testing.assert_allclose(found, image_scores(plain, images), rtol=1e-5, atol=1e-6)


def test_an_output_that_is_not_wanted() -> None:
    """The model has an output more than clients know, whose name another one gets."""
    plain = model([node("Neg", "x", "y"), node("Abs", "x", "extra")], [("x", FLOAT, ["N"])],
                  [("y", FLOAT, ["N"]), ("extra", FLOAT, ["N"])])  # fmt: skip
    made = adapted(plain, {"drop": ["extra"]}, {"rename": {"y": "extra"}})
    assert {name: array.tolist() for name, array in run(made, x=np.float32([1, -2])).items()} == {"extra": [-1, 2]}


def test_classes_in_another_order() -> None:
    """Scores come in the clients' order."""
    plain = image_model()
    made = adapted(plain, {"labels": {"scores": {"classes": [2, 0, 1]}}})
    images = ROWS.random((2, 1, 4, 4), np.float32)
    wanted = image_scores(plain, images)[:, [2, 0, 1]]
    np.testing.assert_allclose(run(made, image=images)["scores"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [8, 13, 18])
@pytest.mark.parametrize("merge", ["sum", "max"])
def test_classes_that_become_one(opset: int, merge: str) -> None:
    """Two of the model's classes are one for clients: their scores are added, or the larger counts."""
    plain = image_model(opset=opset)
    given = {"classes": [[2, 0], 1], "merge": merge}
    made = adapted(plain, {"labels": {"scores": given}, "allow_lossy": True})
    images = ROWS.random((3, 1, 4, 4), np.float32)
    scores = image_scores(plain, images)
    first = scores[:, [2, 0]].sum(1) if merge == "sum" else scores[:, [2, 0]].max(1)
    wanted = np.stack([first, scores[:, 1]], 1)
    np.testing.assert_allclose(run(made, image=images)["scores"], wanted, rtol=1e-5, atol=1e-6)
    assert shapes(made)["scores"][1] == ["N", 2]


def test_numbers_of_classes() -> None:
    """An output that names a class gets the clients' number of it."""
    plain = model([node("ArgMax", "x", "y", axis=1, keepdims=0)], [("x", FLOAT, ["N", 3])], [("y", INT64, ["N"])])
    made = adapted(plain, {"labels": {"y": {"classes": [2, 0, 1], "of": 3}}})
    assert run(made, x=np.eye(3, dtype=np.float32))["y"].tolist() == [1, 2, 0]


@pytest.mark.parametrize("opset", [8, 10, 13, 18])
@pytest.mark.parametrize("kind", [INT32, INT64])
def test_a_number_of_no_class_is_none_of_the_clients(opset: int, kind: int) -> None:
    """Below 0 and beyond the last: it becomes -1, not another class, and the run does not fail."""
    plain = model([node("Identity", "x", "y")], [("x", kind, ["N", "T"])], [("y", kind, ["N", "T"])], opset=opset)
    made = adapted(plain, {"labels": {"y": {"classes": [2, [0, 1]], "of": 3}}, "allow_lossy": True})
    limits = np.iinfo(np.int32 if kind == INT32 else np.int64)
    rows = np.array([[0, 1, 2, 3], [-1, -2, limits.min, limits.max]], limits.dtype)
    found = run(made, x=rows)["y"]
    assert found.dtype == limits.dtype
    assert found.tolist() == [[1, 1, 0, -1], [-1] * 4]


@pytest.mark.parametrize("opset", [8, 11, 18])
def test_a_score_of_minus_infinity_leaves_the_sums_numbers(opset: int) -> None:
    """Of classes that become one it counts in its own class only, whatever stands beside it."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], opset=opset)
    made = adapted(plain, {"labels": {"y": {"classes": [2, [0, 1]]}}, "allow_lossy": True})
    rows = np.array([[1, 2, -np.inf], [-np.inf, 2, 3], [np.inf, 1, np.inf]], np.float32)
    assert run(made, x=rows)["y"].tolist() == [[-np.inf, 3], [3, -np.inf], [np.inf, np.inf]]


@pytest.mark.parametrize("opset", [9, 10, 17])
def test_a_part_of_the_data(opset: int) -> None:
    """Clients send a larger image than the model takes, and get fewer columns than it gives."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], opset=opset)
    made = adapted(plain, {"slice": {"x": {"axis": 1, "start": 1, "end": 5, "of": 6}}, "allow_lossy": True},
                   {"slice": {"y": {"axis": -1, "end": 2}}, "allow_lossy": True})  # fmt: skip
    rows = ROWS.random((2, 6), np.float32)
    np.testing.assert_array_equal(run(made, x=rows)["y"], rows[:, 1:3])


@pytest.mark.parametrize("opset", [8, 11, 18])
def test_a_border(opset: int) -> None:
    """Clients send 28 by 28, as it were, and the model takes 32 by 32."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", 4, 5])], [("y", FLOAT, ["N", 4, 5])], opset=opset)
    pads: list[dict[str, Any]] = [
        {"pad": {"x": {"axis": 1, "before": 1, "after": 1, "value": -1}}},
        {"pad": {"x": {"axis": 2, "before": 0, "after": 3, "value": 0.5}}},
    ]
    made = adapted(plain, *pads)
    assert shapes(made)["x"] == (FLOAT, ["N", 2, 2])
    rows = ROWS.random((1, 2, 2), np.float32)
    wanted = np.pad(np.pad(rows, ((0, 0), (0, 0), (0, 3)), constant_values=0.5), ((0, 0), (1, 1), (0, 0)),
                    constant_values=-1)  # fmt: skip
    np.testing.assert_array_equal(run(made, x=rows)["y"], wanted)


def test_a_border_of_whole_numbers() -> None:
    """As the plan says it, to the last digit."""
    plain = model([node("Identity", "x", "y")], [("x", INT64, ["N", 3])], [("y", INT64, ["N", 3])])
    made = adapted(plain, {"pad": {"x": {"axis": 1, "after": 1, "value": 2**53 + 1}}})
    assert run(made, x=np.int64([[1, 2]]))["y"].tolist() == [[1, 2, 2**53 + 1]]


@pytest.mark.parametrize("opset", [9, 17])
def test_scores_to_probabilities(opset: int) -> None:
    """Clients get probabilities in FP64 where the model gives scores in FP32."""
    plain = image_model(opset=opset)
    made = adapted(plain, {"softmax": {"scores": -1}}, {"cast": {"scores": "FP64"}})
    images = ROWS.random((2, 1, 4, 4), np.float32)
    powers = np.exp(image_scores(plain, images))
    found = run(made, image=images)["scores"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), rtol=1e-5)


def test_flat_rows() -> None:
    """Clients send rows of 16 numbers, and get [N, 3, 1]."""
    plain = image_model()
    made = adapted(plain, {"reshape": {"image": [-1, 16], "scores": [-1, 3, 1]}})
    assert shapes(made) == {"image": (FLOAT, ["N", 16]), "scores": (FLOAT, ["N", 3, 1])}
    rows = ROWS.random((4, 16), np.float32)
    wanted = image_scores(plain, rows)[..., None]
    np.testing.assert_allclose(run(made, image=rows)["scores"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [11, 13])
def test_an_axis_more_or_less(opset: int) -> None:
    """Clients send an axis of length 1 that the model has not, and get none where it gives one."""
    plain = model([node("Unsqueeze", "x", "y", axes=[1]) if opset < 13 else node("Unsqueeze", "x", "at", "y")],
                  [("x", FLOAT, ["N", "T"])], [("y", FLOAT, ["N", 1, "T"])],
                  opset=opset, **({} if opset < 13 else {"at": np.array([1], np.int64)}))  # fmt: skip
    made = adapted(plain, {"squeeze": {"x": [-1], "y": [1]}})
    assert shapes(made) == {"x": (FLOAT, ["N", "T", 1]), "y": (FLOAT, ["N", "T"])}
    rows = ROWS.random((2, 5, 1), np.float32)
    np.testing.assert_array_equal(run(made, x=rows)["y"], rows[..., 0])
