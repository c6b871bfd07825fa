"""From facts to families: what a reader of Prometheus' formats finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from changeover.controller.metrics.families import Machine, families
from changeover.controller.metrics.gpu import Gpu
from changeover.controller.metrics.names import METRICS
from changeover.controller.metrics.snapshot import Snapshot
from changeover.protocol.exposition import text
from tests.controller.metrics.moments import moment, running

Find = Callable[..., float]


def samples(found: Snapshot, machine: Machine) -> list[Sample]:
    """All of them, as the oracle reads them."""
    written = text(families(found, machine), openmetrics=True).decode()
    return [sample for family in text_string_to_metric_families(written) for sample in family.samples]


def versions_in(found: Snapshot) -> set[str]:
    """The versions of models that there are series of."""
    return {s.labels["version"] for s in samples(found, running(found)) if {"model", "version"} <= s.labels.keys()}


@pytest.fixture(scope="module")
def value() -> Find:
    """Looks a value up by its name, without the prefix, and labels; there must be exactly one."""
    made = moment()
    read = samples(made, running(made))

    def find(name: str, **labels: str) -> float:
        (one,) = [s for s in read if s.name == f"changeover_{name}" and labels.items() <= s.labels.items()]
        return float(one.value)

    return find


def test_traffic_is_told_by_protocol(value: Find) -> None:
    """What came over HTTP is what did not come over gRPC; requests are answers and errors."""
    ours = {"model": "model-0", "version": "1", "role": "active"}
    assert value("requests_total", **ours, protocol="http") == 105
    assert value("requests_total", **ours, protocol="grpc") == 101
    assert value("request_errors_total", **ours, protocol="http", reason="run_failed", fault="model") == 5
    assert value("request_errors_total", **ours, protocol="grpc", reason="queue_full", fault="server") == 1
    assert value("requests_shed_total", **ours, protocol="http") == 2
    assert value("request_duration_seconds_sum", **ours, protocol="http") == 5.0
    assert value("requests_shielded_total", **ours) == 4
    assert value("requests_in_flight", model="model-0", version="2", role="candidate") == 6
    assert value("request_stage_seconds_sum", **ours, stage="infer") == 3.0
    assert (value("batch_size_rows_sum", **ours), value("batch_size_rows_count", **ours)) == (40, 10)


def test_classic_buckets_hold_exactly_what_lies_below(value: Find) -> None:
    """Bucket 400 begins at 2^(400/32 - 20) s = 5.5 ms, so its hundred neighbours end below 2^-4 s."""
    ours = {"model": "model-0", "version": "1", "protocol": "http"}
    assert value("request_duration_seconds_bucket", **ours, le="0.00390625") == 0
    assert value("request_duration_seconds_bucket", **ours, le="0.0078125") == 16
    assert value("request_duration_seconds_bucket", **ours, le="0.0625") == 100
    assert value("request_duration_seconds_bucket", **ours, le="+Inf") == 100


def test_recent_quantiles_are_those_of_the_last_seconds(value: Find) -> None:
    """The middle of the bucket at the rank, of both protocols together."""
    ours = {"model": "model-0", "version": "1", "role": "active"}
    assert value("request_duration_recent_seconds", **ours, quantile="0.5") == 2.0 ** (449.5 / 32 - 20)
    assert value("request_duration_recent_seconds", **ours, quantile="0.99") == 2.0 ** (498.5 / 32 - 20)
    assert value("requests_recent", **ours) == 200


def test_versions_workers_and_rollouts_have_their_facts(value: Find) -> None:
    """Role and state, weight, memory, processor time, the phase and the verdict."""
    one = {"model": "model-0", "version": "2"}
    assert value("version_info", **one, role="candidate", state="ready") == 1
    assert value("version_weight_ratio", **one) == 0.5
    assert value("sequences", **one) == 31
    assert value("worker_resident_memory_bytes", **one) == 1000
    assert value("worker_proportional_memory_bytes", **one) == 900
    assert value("worker_cpu_seconds_total", **one) == 2.5
    assert value("worker_session_load_seconds", **one) == 0.25
    assert value("rollout_phase", model="model-0", rollout="r-000001", phase="progressing") == 1
    assert (value("rollout_step", model="model-0"), value("rollout_steps", model="model-0")) == (2, 6)
    assert value("rollout_verdict", model="model-0", verdict="waiting") == 1
    assert value("memory_limit_bytes", of="cgroup") == 50
    assert value("process_resident_memory_bytes", process="controller", number="0") == 7


def test_no_series_is_there_twice() -> None:
    """Not even where a version has had two roles."""
    made = moment(models=3)
    found = samples(made, running(made))
    assert len({(s.name, *sorted(s.labels.items())) for s in found}) == len(found) > 100


def test_a_version_that_is_gone_has_no_series() -> None:
    """Whatever was counted for it."""
    made = moment()
    left = dataclasses.replace(made, versions=made.versions[:1])
    assert versions_in(made) == {"1", "2"}
    assert versions_in(left) == {"1"}


def test_graphics_processors_are_told_where_there_are_any() -> None:
    """Utilisation and memory by device."""
    made = moment()
    machine = dataclasses.replace(running(made), gpus=[Gpu("0", "Tiny", 0.25, 3, 9)])
    found = {s.name: s.value for s in samples(made, machine) if "gpu" in s.labels}
    assert found == {
        "changeover_gpu_utilization_ratio": 0.25,
        "changeover_gpu_memory_used_bytes": 3,
        "changeover_gpu_memory_limit_bytes": 9,
    }


def test_names_follow_the_conventions() -> None:
    """A unit is the end of its name, counters leave `_total` to the format, and each has a sentence."""
    for name, kind, unit, about in METRICS:
        assert not unit or name.endswith(unit)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), kind
        assert about.endswith(".")
