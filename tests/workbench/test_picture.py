"""The picture: every node of every level is in it, in the colour of what it ends as."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from changeover.workbench.fusion import Made, Rewritten
from changeover.workbench.picture import page, picture

OFF = Rewritten(
    (
        Made("0:c", "Conv", "kept", ("c",)), Made("1:a", "Add", "kept", ("a",), ("0:c",)),
        Made("2:r", "Relu", "kept", ("r",), ("1:a",)), Made("3:k", "Mul", "kept", ("k",)),
        Made("4:m", "MatMul", "kept", ("m",), ("2:r", "3:k")),
    ), (), (),
)  # fmt: skip
ALL = Rewritten(
    (
        Made("0:f", "com.microsoft.nchwc.Conv", "fused", ("c", "a", "r")),
        Made("1:o", "com.microsoft.nchwc.ReorderOutput", "layout", (), ("0:f",)),
        Made("2:m", "MatMul", "kept", ("m",), ("1:o",)),
    ), ("k",), (),
)  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def document(name: str = "<m>.onnx") -> dict[str, Any]:
    level = {
        "latency_us": {"1": {"p50": 10.0, "p99": 12.0}}, "load_ms": 1.0, "memory_bytes": None, "operators": {"Conv": 1},
        "difference": {"max_abs": 1e-6, "max_rel": 0.0}, "nodes": 3,
    }  # fmt: skip
    return {"model": name, "batches": [1], "levels": [{**level, "level": name} for name in ("off", "all")]}


def read(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own


def boxes() -> list[dict[str, str]]:
    """Attributes of all rectangles but the ground."""
    return [dict(one.attrib) for one in read(picture(document(), [OFF, ALL])).iter(f"{SVG}rect")][1:]


def test_every_node_has_its_box() -> None:
    """Five nodes without optimisation; three with, and a dashed place for the constant that is folded."""
    assert len(boxes()) == 5 + 3 + 1
    assert sum("stroke-dasharray" in box for box in boxes()) == 1


def test_one_colour_for_what_ends_as_one_node() -> None:
    """Conv, Add and Relu have the colour of the node that they become, and no other has it."""
    fills = [box["fill"] for box in boxes()]
    assert fills[0] == fills[1] == fills[2] == fills[5]
    assert fills.count(fills[0]) == 4


def test_a_fused_node_is_as_tall_as_its_parts() -> None:
    """It stands beside all of them."""
    first, third, made = (boxes()[at] for at in (0, 2, 5))
    assert made["y"] == first["y"]
    assert float(made["y"]) + float(made["height"]) == float(third["y"]) + float(third["height"])


def test_words_of_the_picture() -> None:
    """Operators, what they are made of, and the figures of each level can be read."""
    texts = [one.text for one in read(picture(document(), [OFF, ALL])).iter(f"{SVG}text")]
    assert {"Conv (blocked)", "Conv + Add + Relu", "ReorderOutput", "Mul: folded", "p50 10 µs at 1"} <= set(texts)


def test_the_page_is_whole() -> None:
    """The picture with its figures; a name from outside is text and no markup."""
    made = page(document("<script>"), picture(document(), [OFF, ALL]))
    assert "<script>" not in made
    assert made.count("<svg") == 1
    assert "<td>1e-06</td>" in made


def test_a_huge_graph_is_cut() -> None:
    """Of a model with thousands of nodes the beginning is drawn, and nothing breaks."""
    nodes = tuple(Made(f"{at}:n", "Neg", "kept", (str(at),), (f"{at - 1}:n",) if at else ()) for at in range(2000))
    made = read(picture(document(), [Rewritten(nodes, (), ()), Rewritten(nodes, (), ())]))
    assert 800 <= len(list(made.iter(f"{SVG}rect"))) < 1000


def test_answers_that_are_no_numbers() -> None:
    """They differ by more than anything, in the picture and on the page."""
    told = document()
    told["levels"][1]["difference"] = {"max_abs": None, "max_rel": None}
    svg = picture(told, [OFF, ALL])
    assert "differs by infinity" in svg
    assert "<td>infinity</td>" in page(told, svg)
