"""Sequences over the control port of a real server."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from changeover.controller import api_rollouts
from changeover.controller.sequence_bodies import SequenceBody
from changeover.testing import Server, exchange
from tests.controller.events.listening import Listener

PATH = "/v1/models/double/sequences"


@pytest.mark.parametrize(
    ("verb", "body", "status", "reason"),
    [
        ("show", b'{"id": 1}', 404, "no_sequences"),
        ("show", b'{"id": true}', 400, "invalid_request"),
        ("end", b"{", 400, "malformed_json"),
        ("end", b'{"id": 1}', 404, "no_sequences"),
        ("export", b"", 400, "malformed_json"),
        ("import", b'{"form": "x"}', 400, "invalid_request"),
        ("show", b" " * ((1 << 20) + 1), 413, "too_large"),
    ],
)
def test_refusals(shared_server: Server, verb: str, body: bytes, status: int, reason: str) -> None:
    """A model without sequences, and bodies that are none."""
    reply = exchange(shared_server.control_port, "POST", f"{PATH}/{verb}", body)
    assert (reply.status, reply.json()["reason"]) == (status, reason)


def test_models_without_sequences(shared_server: Server) -> None:
    """The list says that there are none, the status has no count, an unknown model is unknown."""
    reply = exchange(shared_server.control_port, "GET", PATH)
    assert (reply.status, reply.json()["reason"]) == (404, "no_sequences")
    assert shared_server.model("double")["sequences"] is None
    reply = exchange(shared_server.control_port, "GET", "/v1/models/nobody/sequences")
    assert (reply.status, reply.json()["reason"]) == (404, "model_not_found")


def test_who_ends_or_brings_in_a_sequence_is_told(shared_server: Server) -> None:
    """As for every other verb: who asked for it, and why it was refused; a name of any length is cut."""
    document = {"form": "x", "model": "m", "version": "1", "digest": "d", "steps": 1, "states": [], "saved": ""}
    with Listener(shared_server, "?model=double&types=operator") as listener:
        for verb, body in (("end", {"id": "x" * 1000}), ("import", {"id": 9, **document})):
            exchange(shared_server.control_port, "POST", f"{PATH}/{verb}", json.dumps(body).encode())
        told = [listener.next() for _ in range(4)]
    assert [(event["asked"], event["refused"]) for event in told] == [
        ("end_sequence", None), ("end_sequence", "invalid_request"),
        ("import_sequence", None), ("import_sequence", "no_sequences"),
    ]  # fmt: skip
    assert [event["sequence"] for event in told] == ["x" * 128] * 2 + ["9"] * 2


def test_a_large_body_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread; a small one at once."""
    threads: list[bool] = []
    decode = msgspec.json.decode

    def seen(text: bytearray, *, type: Any) -> Any:  # noqa: A002 - as its caller names it
        threads.append(threading.current_thread() is not threading.main_thread())
        return decode(text, type=type)

    monkeypatch.setattr(api_rollouts.msgspec.json, "decode", seen)

    async def read(size: int) -> SequenceBody:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b'{"id": 1' + b" " * size + b"}"}

        return await api_rollouts.body_of(Request({"type": "http"}, receive), SequenceBody, 1 << 22)

    assert asyncio.run(read(10)) == asyncio.run(read(1 << 21)) == SequenceBody(id=1)
    assert threads == [False, True]
