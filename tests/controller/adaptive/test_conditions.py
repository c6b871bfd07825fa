"""Traffic and hardware: what counts as another one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from changeover.controller.adaptive.conditions import Hardware, Traffic, traffic_of, typical

OLD = Hardware(2, "ab", "1.31.1", 8 << 30)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD, []),
        (replace(OLD, cores=4), ["cores: 4, were 2"]),
        (replace(OLD, cpu="cd"), ["another processor, or other features of it"]),
        (replace(OLD, onnxruntime="1.32.0"), ["ONNX Runtime 1.32.0, was 1.31.1"]),
        (replace(OLD, memory=4 << 30), ["memory: 4,294,967,296 bytes, were 8,589,934,592"]),
        (replace(OLD, memory=int(1.05 * OLD.memory)), []),
    ],
)
def test_hardware(new: Hardware, words: list[str]) -> None:
    """Each part is told by itself; a little more or less memory is none."""
    assert new.changed_from(OLD) == words


def test_traffic_moves_by_a_factor() -> None:
    """Both ways, and not by less."""
    old = Traffic(10.0, 4.0)
    assert list(Traffic(20.0, 4.0).moved_from(old, 2)) == ["rate up"]
    assert list(Traffic(5.0, 9.0).moved_from(old, 2)) == ["rate down", "batch up"]
    assert list(Traffic(19.9, 2.1).moved_from(old, 2)) == []


def test_traffic_of_a_slice() -> None:
    """The median of the rows of its runs; under a request a second it tells nothing."""
    assert traffic_of(30, {1: 10, 8: 11}, 10) == Traffic(3.0, 8.0)
    assert traffic_of(30, {1: 11, 8: 10}, 10) == Traffic(3.0, 1.0)
    for requests, sizes, seconds in ((9, {1: 9}, 10), (30, {}, 10), (30, {1: 30}, 0)):
        assert traffic_of(requests, sizes, seconds) is None


def test_what_is_typical() -> None:
    """One slice that is another does not count."""
    assert typical([Traffic(1, 1), Traffic(2, 1), Traffic(900, 32)]) == Traffic(2, 1)
