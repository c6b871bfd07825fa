"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from changeover.rollout.quantities import seconds, size_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5s", 1.5),
        ("10 m", 600),
        (0, 0),
        (2.5, 2.5),
    ],
)
def test_durations(text: object, expected: float) -> None:
    """With a unit, or a number of seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 << 30),
        ("512MB", 512_000_000),
        ("1KiB", 1024),
        ("1kB", 1000),
        ("7B", 7),
        ("1.5MiB", 1_572_864),
        (4096, 4096),
    ],
)
def test_sizes(text: object, expected: int) -> None:
    """Powers of ten and of two, or a number of bytes."""
    assert size_bytes(text) == expected
    assert isinstance(size_bytes(text), int)


@pytest.mark.parametrize(
    "text",
    ["", "10", "10x", "-1s", "s", "1e3s", "1,5s", "10M", "1 h 2 m", None, True, -1, float("nan"), float("inf"), [1]],
)
def test_no_durations(text: object) -> None:
    """Without a unit, negative, or something else: with a sentence that gives an example."""
    with pytest.raises(ValueError, match="is no duration such as"):
        seconds(text)


@pytest.mark.parametrize("text", ["2gib", "2G", "2 gigabytes", "-5MB", "", False, -1])
def test_no_sizes(text: object) -> None:
    """Unknown units and negative numbers."""
    with pytest.raises(ValueError, match="is no size such as"):
        size_bytes(text)
