"""Statistics in Triton's terms: sums, batch sizes, the shape of the answer."""

from __future__ import annotations

import msgspec

from changeover.telemetry.statistics import Size, Statistics


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


def test_sizes_that_clients_make_up_take_no_memory() -> None:
    """Up to 1,024 rows each size counts for itself, above there is one entry for each doubling."""
    counts = Statistics()
    for rows in range(1, 100_000):
        counts.at(rows).count += 1
    assert len(counts.sizes) == 1024 + 7
    assert (counts.sizes[1024].count, counts.sizes[2048].count, counts.sizes[131072].count) == (1, 1024, 34463)


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
