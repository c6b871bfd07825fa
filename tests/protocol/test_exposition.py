"""Metrics on the wire: prometheus-client's parsers read what we write, and readers get the form they want."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from changeover.protocol.exposition import (
    OPENMETRICS,
    PROTOBUF,
    TEXT,
    Distribution,
    Family,
    LabelBook,
    Labels,
    negotiated,
    text,
)

PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
PROMETHEUS_2 += "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
NATIVE = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,"


def some() -> list[Family]:
    """A family of each kind, with a label value that has to be escaped."""
    odd = Labels(model='a"b\\c\nd', version="3")
    counter = Family("changeover_requests", "counter", "With a \\ and\na second line.")
    counter.add(odd, 7)
    gauge = Family("changeover_weight_ratio", "gauge", "Share.", "ratio")
    gauge.add(Labels(), 0.25)
    histogram = Family("changeover_duration_seconds", "histogram", "How long.", "seconds")
    histogram.spread(odd, Distribution(3, 4.5, (0.5, 1.0), (1, 2)))
    summary = Family("changeover_stage_seconds", "summary", "Parts.", "seconds")
    summary.spread(odd, Distribution(3, 4.5))
    return [counter, gauge, histogram, summary]


@pytest.mark.parametrize("form", ["text", "openmetrics"])
def test_the_oracle_reads_what_was_written(form: str) -> None:
    """Names, kinds, labels and values of every kind survive both text formats."""
    written = text(some(), openmetrics=form == "openmetrics").decode()
    found = {family.name: family for family in (openmetrics if form == "openmetrics" else plain)(written)}
    assert {name: family.type for name, family in found.items()} == {
        "changeover_requests": "counter",
        "changeover_weight_ratio": "gauge",
        "changeover_duration_seconds": "histogram",
        "changeover_stage_seconds": "summary",
    }
    odd = {"model": 'a"b\\c\nd', "version": "3"}
    (counted,) = found["changeover_requests"].samples
    assert (counted.name, counted.labels, counted.value) == ("changeover_requests_total", odd, 7)
    assert found["changeover_requests"].documentation == "With a \\ and\na second line."
    buckets = [s for s in found["changeover_duration_seconds"].samples if s.name.endswith("_bucket")]
    assert [(float(s.labels["le"]), s.value) for s in buckets] == [(0.5, 1), (1.0, 2), (math.inf, 3)]
    values = {s.name: s.value for s in found["changeover_stage_seconds"].samples}
    assert values == {"changeover_stage_seconds_sum": 4.5, "changeover_stage_seconds_count": 3}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (NATIVE + "application/openmetrics-text;q=0.8,text/plain;q=0.5", PROTOBUF),
        ("application/vnd.google.protobuf;encoding=text,text/plain;q=0.1", TEXT),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.2", TEXT),
        ("application/openmetrics-text;q=x,text/plain;q=0.1", TEXT),
    ],
)
def test_a_reader_gets_the_form_it_wants_most(accept: str, form: str) -> None:
    """By the quality values of `Accept`; without any that is known, the text format."""
    assert negotiated(accept) == form


def test_labels_of_what_is_gone_are_forgotten() -> None:
    """Those of the last scrape are used again, older ones are made anew."""
    book = LabelBook()
    first = book(model="m", version="1")
    assert book(model="m", version="1") is first
    book.turn()
    assert book(model="m", version="1") is first
    book.turn()
    book.turn()
    again = book(model="m", version="1")
    assert again is not first
    assert again.text == first.text
