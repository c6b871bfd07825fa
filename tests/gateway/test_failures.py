"""Failed requests in the log: with what is known of each, and so many a second."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from changeover.errors import ModelRunFailed
from changeover.gateway import failures
from changeover.gateway.failures import MOST, Failures
from changeover.gateway.ticket import Ticket

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def ticket(**headers: bytes) -> Ticket:
    """Of a request to version 4."""
    made = SimpleNamespace(
        asker=SimpleNamespace(headers={name.encode(): value for name, value in headers.items()}),
        model=SimpleNamespace(name="m"),
        target=SimpleNamespace(version="4"),
        asked=SimpleNamespace(id="req-7"),
    )
    return cast(Ticket, made)


def test_a_line_has_all_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """Model, version, the request's own id and its trace, when that is one."""
    told = Failures()
    error = ModelRunFailed("it broke", reason="worker_crashed")
    told.tell(ticket(traceparent=TRACE), error)
    told.tell(ticket(traceparent=b"x"), error)
    first, second = cast(list[Any], caplog.records)
    assert first.getMessage() == "a request failed: it broke [worker_crashed]"
    assert (first.model, first.version, first.request_id, first.traceparent) == ("m", "4", "req-7", TRACE.decode())
    assert second.traceparent is None


def test_a_flood_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a second are told, the rest are a number in the next."""
    now = 100.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)
    told = Failures()
    for _ in range(MOST + 25):
        told.tell(ticket(), ModelRunFailed("it broke"))
    assert len(caplog.records) == MOST
    now = 101.5
    told.tell(ticket(), ModelRunFailed("it broke"))
    assert caplog.records[MOST].getMessage() == "25 more requests failed and are not in the log"
    assert caplog.records[MOST].levelno == logging.WARNING
    assert len(caplog.records) == MOST + 2


def test_a_line_is_short_whatever_clients_and_models_write(caplog: pytest.LogCaptureFixture) -> None:
    """An id of a megabyte, and a sentence as long; 200 characters are whole."""
    long, whole = ticket(), ticket()
    cast(Any, long).asked.id, cast(Any, whole).asked.id = "x" * (1 << 20), "y" * 200
    Failures().tell(long, ModelRunFailed("z" * (1 << 20), reason="worker_crashed"))
    Failures().tell(whole, ModelRunFailed("w" * 200, reason="worker_crashed"))
    first, second = cast(list[Any], caplog.records)
    assert (len(first.request_id), len(first.getMessage())) == (201, len(second.getMessage()) + 1)
    assert (second.request_id, "w" * 200 in second.getMessage()) == ("y" * 200, True)
