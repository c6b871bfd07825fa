"""The request as the application holds it."""

from __future__ import annotations

from tests.gateway.door.served import Served, post


def test_repr_is_a_sentence(door: Served) -> None:
    """The repr names method, path and size."""
    with door.client() as client:
        client.send(post(b"abc", path="/v2/x"))
        client.answer()
    assert repr(door.app.seen[0]) == "<HttpRequest POST /v2/x 3 bytes>"
