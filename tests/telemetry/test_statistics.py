"""Statistics in Triton's terms: sums, batch sizes, the shape of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from changeover.telemetry.statistics import Ran, Runs, Size, Statistics


def filled() -> Statistics:
    """Two runs of two sizes."""
    return Statistics(
        7, 6, 2, 3, 3, 900, 1, 50, 300, 30, 400, 20, 1_700_000_000_000, {2: Size(1, 10, 100, 5), 4: Size(1, 5, 150, 6)}
    )


def test_two_gateways_add_up() -> None:
    """Every count is the sum, the last inference the later one, and nothing is shared between the two."""
    total = Statistics(7)
    total.add(filled())
    total.add(filled())
    assert (total.inferences, total.executions, total.runs, total.success, total.fail) == (12, 4, 6, 6, 2)
    assert (total.queue_ns, total.input_ns, total.infer_ns, total.output_ns) == (600, 60, 800, 40)
    assert total.last_ms == 1_700_000_000_000
    assert total.sizes == {2: Size(2, 20, 200, 10), 4: Size(2, 10, 300, 12)}
    assert filled().sizes[2] == Size(1, 10, 100, 5)


@dataclass
class Batch:
    """A batch as it is counted."""

    rows: int
    runs: int = 1
    tickets: list[int] = field(default_factory=lambda: [0])
    wall_ns: int = 1_000_000
    begun: float = 10.0
    sent: float = 10.001


def test_sizes_that_clients_make_up_take_no_memory() -> None:
    """Up to 1,024 rows each size counts for itself, above there is one entry for each doubling."""
    runs = Runs()
    for rows in range(1, 100_000):
        runs.count(Batch(rows), 0.01, 10.01, 10.02)
    counts = runs.statistics(7, 10.02, 0)
    assert len(counts.sizes) == 1024 + 7
    assert (counts.sizes[1024].count, counts.sizes[2048].count, counts.sizes[131072].count) == (1, 1024, 34463)
    assert counts.inferences == 99_999 * 50_000


def test_a_batch_is_counted_for_each_of_its_requests() -> None:
    """Each waits for the whole run of its batch; runs that only share a doorbell are as many executions of one row."""
    runs = Runs()
    assert runs.statistics(7, 20.0, 5000).last_ms == 0
    runs.count(Batch(3, tickets=[0, 0]), 0.020, 10.01, 10.012)
    runs.count(Batch(2, runs=2, tickets=[0, 0], wall_ns=2_000_000), 0.030, 10.01, 10.014)
    told = runs.statistics(7, 20.014, 15_000)
    assert (told.loading, told.inferences, told.executions, told.runs, told.last_ms) == (7, 5, 3, 4, 5000)
    assert told.infer_ns == 2 * 1_000_000 + 2_000_000
    assert told.input_ns == pytest.approx(4 * 1_000_000, abs=10)
    assert told.output_ns == pytest.approx(6_000_000, abs=10)
    assert told.queue_ns == pytest.approx(50_000_000 - 4_000_000 - 4_000_000, abs=10)
    assert {rows: (size.count, size.infer_ns) for rows, size in told.sizes.items()} == {
        3: (1, 1_000_000),
        1: (2, 2_000_000),
    }


def test_a_run_that_failed_is_an_execution_and_no_inference() -> None:
    """As Triton counts it; the size of its batch has it too."""
    runs = Runs()
    runs.count_failed(Batch(3))
    runs.count(Batch(3, tickets=[0]), 0.020, 10.01, 10.012)
    told = runs.statistics(7, 20.0, 5000)
    assert (told.executions, told.inferences, told.runs, told.sizes[3].count) == (2, 3, 1, 2)


def test_it_travels_as_json() -> None:
    """What one gateway writes another reads."""
    assert msgspec.json.decode(msgspec.json.encode(filled()), type=Statistics) == filled()


def test_the_answer_has_tritons_fields() -> None:
    """Counts and nanoseconds under the names of the extension."""
    told = filled().as_triton("m", "3")
    assert {k: told[k] for k in ("name", "version", "last_inference", "inference_count", "execution_count")} == {
        "name": "m",
        "version": "3",
        "last_inference": 1_700_000_000_000,
        "inference_count": 6,
        "execution_count": 2,
    }
    assert told["inference_stats"]["success"] == {"count": 3, "ns": 900}
    assert told["inference_stats"]["fail"] == {"count": 1, "ns": 50}
    assert told["inference_stats"]["queue"] == {"count": 3, "ns": 300}
    assert told["inference_stats"]["compute_infer"] == {"count": 3, "ns": 400}
    assert told["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
    assert [b["batch_size"] for b in told["batch_stats"]] == [2, 4]
    assert told["batch_stats"][0]["compute_input"] == {"count": 1, "ns": 10}


def test_the_short_form_is_that_of_the_long_one() -> None:
    """The same sums in seconds, batch sizes rounded up to powers of two; nothing yet is nothing."""
    runs = Runs()
    assert runs.ran() == Ran()
    for rows in (1, 3, 4, 5):
        runs.count(Batch(rows, tickets=[0] * rows, sent=10.5), 8.0, 11.0, 11.25)
    long, short = runs.statistics(7, 12.0, 12_000), runs.ran()
    assert (short.executions, short.inferences, short.requests) == (long.executions, long.inferences, long.runs)
    for found, known in ((short.queue, long.queue_ns), (short.input, long.input_ns), (short.infer, long.infer_ns)):
        assert found == pytest.approx(known * 1e-9)
    assert short.output == pytest.approx(1.0)
    assert short.sizes == {1: 1, 4: 2, 8: 1}
