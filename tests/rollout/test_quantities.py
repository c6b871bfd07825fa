"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from changeover.rollout.quantities import percent, seconds, share, size_bytes


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


@pytest.mark.parametrize("text", ["2gib", "2G", "2 gigabytes", "-5MB", "", False, -1, f"{10**310}MB", 10**400, 1e300])
def test_no_sizes(text: object) -> None:
    """Unknown units and negative numbers."""
    with pytest.raises(ValueError, match="is no size such as"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "fraction"), [("5%", 0.05), ("0.1 %", 0.001), (0.05, 0.05), (1, 1), (0, 0), ("100%", 1)]
)
def test_shares(text: object, fraction: float) -> None:
    """Percent as text, a fraction as a number."""
    assert share(text) == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["5", "%", "-1%", "5 percent", None, True, float("nan"), "1e2%", f"{10**400}%"])
def test_what_is_no_share_is_refused(text: object) -> None:
    """With a sentence that shows how it is written."""
    with pytest.raises(ValueError, match="share such as"):
        share(text)


@pytest.mark.parametrize(("fraction", "text"), [(0.05, "5%"), (0.001, "0.1%"), (1.0, "100%"), (0.0001, "0.01%")])
def test_percent_is_the_way_back(fraction: float, text: str) -> None:
    """A fraction as a plan has it."""
    assert percent(fraction) == text
    assert share(text) == pytest.approx(fraction)
