"""The protobuf form: read back with protobuf's own library, and its native buckets are where Prometheus has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint32
from hypothesis import given
from hypothesis import strategies as st

from changeover.protocol.exposition import Distribution, Family, Labels
from changeover.protocol.exposition_proto import protobuf
from changeover.telemetry.observations import BUCKETS, bucket, edge

_KINDS = {"double": 1, "uint64": 4, "int32": 5, "string": 9, "uint32": 13, "sint32": 17, "sint64": 18}
_MESSAGES = {
    "LabelPair": "name=1 string, value=2 string",
    "Gauge": "value=1 double",
    "Counter": "value=1 double",
    "Summary": "sample_count=1 uint64, sample_sum=2 double",
    "Bucket": "cumulative_count=1 uint64, upper_bound=2 double",
    "BucketSpan": "offset=1 sint32, length=2 uint32",
    "Histogram": "sample_count=1 uint64, sample_sum=2 double, bucket=3 Bucket*, schema=5 sint32, "
    "zero_threshold=6 double, zero_count=7 uint64, positive_span=12 BucketSpan*, positive_delta=13 sint64*",
    "Metric": "label=1 LabelPair*, gauge=2 Gauge, counter=3 Counter, summary=4 Summary, histogram=7 Histogram",
    "MetricFamily": "name=1 string, help=2 string, type=3 int32, metric=4 Metric*, unit=5 string",
}


@pytest.fixture(scope="module")
def family() -> Any:
    """`MetricFamily` as client_model has it, its enum as a number."""
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="m", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for place, told in (field.split() for field in fields.split(", ")):
            label, number = place.split("=")
            entry = message.field.add(name=label, number=int(number), label=3 if told.endswith("*") else 1)
            kind = told.rstrip("*")
            if kind in _KINDS:
                entry.type = _KINDS[kind]
            else:
                entry.type, entry.type_name = 11, f".m.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("m.MetricFamily"))


def read(kind: Any, body: bytes) -> list[Any]:
    """The messages behind their lengths."""
    found, at = [], 0
    while at < len(body):
        size, at = _DecodeVarint32(body, at)
        found.append(kind.FromString(body[at : at + size]))
        at += size
    return found


def test_every_kind_is_read_back(family: Any) -> None:
    """Counter, gauge, summary and a classic histogram."""
    labels = Labels(model="m", version="3")
    counter, gauge = Family("a", "counter", "A."), Family("b", "gauge", "B.", "ratio")
    summary, histogram = Family("c", "summary", "C."), Family("d", "histogram", "D.")
    counter.add(labels, 7)
    gauge.add(labels, 0.25)
    summary.spread(labels, Distribution(3, 4.5))
    histogram.spread(labels, Distribution(3, 4.5, (0.5,), (1,)))
    found = read(family, protobuf([counter, gauge, summary, histogram]))
    assert [(f.name, f.help, f.type, f.unit) for f in found] == [
        ("a_total", "A.", 0, ""), ("b", "B.", 1, "ratio"), ("c", "C.", 2, ""), ("d", "D.", 4, ""),
    ]  # fmt: skip
    assert {(pair.name, pair.value) for f in found for m in f.metric for pair in m.label} == {
        ("model", "m"), ("version", "3"),
    }  # fmt: skip
    assert (found[0].metric[0].counter.value, found[1].metric[0].gauge.value) == (7, 0.25)
    assert (found[2].metric[0].summary.sample_count, found[2].metric[0].summary.sample_sum) == (3, 4.5)
    buckets = found[3].metric[0].histogram.bucket
    assert [(b.cumulative_count, b.upper_bound) for b in buckets] == [(1, 0.5), (3, float("inf"))]


@given(counts=st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 10**9), max_size=60))
def test_native_buckets_hold_the_same_counts(family: Any, counts: dict[int, int]) -> None:
    """Spans and deltas, undone as Prometheus does, give each bucket's upper edge and count."""
    made = Family("d", "histogram", "D.")
    dense = np.zeros(BUCKETS, np.int64)
    dense[list(counts)] = list(counts.values())
    made.spread(Labels(), Distribution(sum(counts.values()), 1.0, native=dense))
    ((metric,),) = [f.metric for f in read(family, protobuf([made]))]
    told = metric.histogram
    assert (told.schema, told.zero_count) == (5, 0)
    found, index, value, deltas = {}, 0, 0, iter(told.positive_delta)
    for span in told.positive_span:
        index += span.offset
        for _ in range(span.length):
            value += next(deltas)
            found[2.0 ** (index / 32)] = value
            index += 1
    assert found == pytest.approx({edge(number + 1): count for number, count in counts.items()})
    assert told.positive_span, "without a span it would not be taken for a native one"


def test_a_second_lies_in_the_bucket_that_ends_there() -> None:
    """Powers of two are edges of ours and of schema 5."""
    assert edge(bucket(1.0)) == 1.0
    assert edge(bucket(0.999)) < 0.999 < edge(bucket(0.999) + 1) <= 1.0
