"""The request as the application holds it."""

from __future__ import annotations

import pytest

from tests.gateway.door.served import Served, get, post, serving


def test_repr_is_a_sentence(door: Served) -> None:
    """The repr names method, path and size."""
    with door.client() as client:
        client.send(post(b"abc", path="/v2/x"))
        client.answer()
    assert repr(door.app.seen[0]) == "<HttpRequest POST /v2/x 3 bytes>"


@pytest.mark.parametrize("answered", [True, False])
def test_what_is_made_of_a_body_is_held_until_its_answer(answered: bool) -> None:
    """Charged to the door's budget as far as that reaches, and given back with the answer or without one."""
    with serving(gateway_bytes=1000) as door:
        with door.client() as client:
            client.send(post(b"abc", path="/hold"))
            door.until(lambda: len(door.app.held) == 1)
            request = door.app.held[0]
            told = door.call(lambda: [request.hold(size) for size in (990, 8, 7)])
            assert (told, door.server.budget_used) == ([True, False, True], 1000)
            if answered:
                door.call(lambda: request.respond(200, b"", [b"x"]))
                client.answer()
        door.until(lambda: door.server.budget_used == 0)
        assert not door.call(lambda: request.hold(1)), "nobody wants it any more"


def test_a_request_is_taken_again_after_the_others(door: Served) -> None:
    """And answered then; what the application raises then is a defect as well."""
    with door.client() as client:
        client.send(get("/later") + get("/later/raise"))
        assert client.answer().body == b"later"
        assert client.answer().status == 500
        assert [seen.path for seen in door.app.seen] == ["/later", "/later", "/later/raise", "/later/raise"]


def test_a_request_whose_client_is_gone_is_not_taken_again(door: Served) -> None:
    """Nor one that was answered meanwhile."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        request = door.app.held[0]

        def answer_first() -> None:
            request.later(door.app.again)
            request.respond(200, b"", [b"now"])

        door.call(answer_first)
        assert client.answer().body == b"now"
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 2)

    def gone() -> None:
        door.app.held[1].later(door.app.again)

    door.until(lambda: len(door.app.abandoned) == 1)
    door.call(gone)
    assert len(door.app.seen) == 2
