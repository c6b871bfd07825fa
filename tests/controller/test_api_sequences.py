"""Sequences over the control port of a real server."""

from __future__ import annotations

import pytest

from changeover.testing import Server, exchange

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
