"""The gateways' samples, as a prover gets them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from changeover.prover import recent
from changeover.prover.recent import Recent, gather
from changeover.tensors import Tensor, from_numpy
from changeover.transport.page import create_sample
from changeover.transport.sample import Sample, write


@pytest.fixture
def memory() -> Iterator[int]:
    """Of two gateways."""
    fd = create_sample(2)
    yield fd
    os.close(fd)


def request(*rows: float) -> list[Tensor]:
    """One tensor, a column a row."""
    return [from_numpy("x", np.array(rows, np.float32).reshape(-1, 1))]


def test_gateways_count_by_what_they_stand_for(memory: int) -> None:
    """100 requests of 1,000 and 100 of 100 are a sample of 1,100 in which the second has a tenth of the first's."""
    list(write(memory, 0, Sample(1000, [request(0.0)] * 100)))
    list(write(memory, 1, Sample(100, [request(1.0)] * 100)))
    found = gather(memory, batchable=True, alive=lambda: None)
    counts = Counter(float(feeds["x"][0, 0]) for feeds in found.requests)
    assert (found.seen, counts) == (1100, {0.0: 100, 1.0: 10})
    first = [float(feeds["x"][0, 0]) for feeds in found.requests[:50]]
    assert 0 < sum(first) < 10  # in random order


def test_no_more_than_one_gateway_may_keep(memory: int) -> None:
    """However many gateways there are."""
    for place in range(2):
        list(write(memory, place, Sample(256, [request(place)] * 256)))
    assert len(gather(memory, batchable=True, alive=lambda: None).requests) == 256


def test_one_row_stands_for_a_request_whose_rows_are_apart(memory: int) -> None:
    """All rows where they are not; either way every gateway that wrote nothing is done without."""
    list(write(memory, 0, Sample(40, [request(1.0, 2.0, 3.0)] * 40)))
    list(write(memory, 1, Sample(0, [])))
    shapes = {
        batchable: {feeds["x"].shape for feeds in gather(memory, batchable=batchable, alive=lambda: None).requests}
        for batchable in (True, False)
    }
    assert shapes == {True: {(1, 1)}, False: {(3, 1)}}
    rows = Counter(float(feeds["x"][0, 0]) for feeds in gather(memory, batchable=True, alive=lambda: None).requests)
    assert set(rows) == {1.0, 2.0, 3.0}


def test_a_silent_gateway_is_not_waited_for_long(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be dead; that is said where it leaves too few. Nobody is asked where nobody may be."""
    monkeypatch.setattr(recent, "PATIENCE", 0.05)
    told: list[None] = []
    list(write(memory, 1, Sample(5, [request(1.0)] * 5)))
    found = gather(memory, batchable=True, alive=lambda: told.append(None))
    assert (found.seen, len(found.requests), found.late, bool(told)) == (5, 5, 1, True)
    assert str(found) == "5 recent requests are too few, and 1 gateways had not told theirs in 0 s"
    assert gather(None, batchable=True, alive=lambda: None) == Recent()


def test_a_sample_that_takes_its_time_is_waited_for(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway under load writes a request now and then; the clock of the test goes a second with each look."""
    clock = iter(range(100))
    monkeypatch.setattr(recent.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(recent.time, "sleep", lambda _: None)
    list(write(memory, 0, Sample(3, [request(1.0)] * 3)))
    writing = write(memory, 1, Sample(4, [request(2.0)] * 4))
    found = gather(memory, batchable=True, alive=lambda: next(writing, None))
    assert (found.seen, len(found.requests), found.late) == (7, 7, 0)


def test_why_there_are_too_few_is_said() -> None:
    """What was seen and not kept is too large, or more than there is room for."""
    assert str(Recent(19, [{}] * 19)) == "19 recent requests are too few"
    assert str(Recent(5000, [])) == (
        "0 recent requests are too few (of 5,000 seen; a gateway keeps none over 1 MiB and 24 MiB a model at most)"
    )
