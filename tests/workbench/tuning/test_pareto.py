"""The picture of a tuning."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from changeover.workbench.tuning.pareto import front, page, picture


def setting(name: str, speed: float, memory: int, **more: Any) -> dict[str, Any]:
    told = {"name": name, "precision": "fp32", "ratio": 1.0, "p50_us": speed, "p99_us": speed, "rows_per_s": speed}
    return {**told, "memory_bytes": memory, "reason": None, **more}


def document(*settings: dict[str, Any], objective: str = "latency") -> dict[str, Any]:
    return {
        "objective": objective, "sentence": "a <sentence>", "model": "m.onnx", "settings": list(settings),
        "default": settings[0], "answer": settings[-1],
    }  # fmt: skip


def test_the_front_has_what_nothing_is_better_than() -> None:
    """Neither in speed nor in memory; equal ones once."""
    assert front([(3, 1), (1, 3), (2, 2), (2, 4), (3, 3), (1, 3)]) == [1, 2, 0]
    assert front([]) == []


@pytest.mark.parametrize("objective", ["latency", "p99", "throughput", "memory"])
def test_a_point_for_each_setting(objective: str) -> None:
    """Those that were measured, with names to read; default and answer are marked."""
    settings = [setting("a & b", 100.0, 5_000_000), setting("c", 20.0, 9_000_000), setting("d", 50.0, 1, reason="hung")]
    told = picture(document(*settings[:1], settings[2], settings[1], objective=objective))
    root = ElementTree.fromstring(told)  # noqa: S314 - our own
    titles = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert [title.split(":")[0] for title in titles] == ["a & b", "c"]
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"default", "answer", "fp32"} <= set(texts)


def test_nothing_measured_is_still_a_picture() -> None:
    """It says so by being empty; one setting alone has axes too."""
    drawn = []
    for one in (setting("a", 0.0, 0), setting("a", 3.0, 5)):
        root = ElementTree.fromstring(picture(document(one)))  # noqa: S314 - our own
        drawn.append(len(list(root.iter("{http://www.w3.org/2000/svg}title"))))
    assert drawn == [0, 1]


def test_the_page_has_the_figures() -> None:
    """Beside the picture, with nothing that a browser would take for more."""
    told = document(setting("a", 3.0, 5), setting("<b>", 2.0, 7))
    assert "&lt;b&gt;" in page(told, picture(told))
    assert "a &lt;sentence&gt;" in page(told, picture(told))
