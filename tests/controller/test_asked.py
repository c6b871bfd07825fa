"""What people ask for is told: by whom, for what, and why it was refused."""

from __future__ import annotations

from typing import Any, cast

import pytest
from starlette.requests import Request

from changeover.controller.asked import asked
from changeover.controller.events.chronicle import Chronicle
from changeover.errors import Conflict
from changeover.testing import Server, exchange
from tests import onnx_models
from tests.controller.events.listening import Listener


class Notes:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str | None, Any]] = []

    def note(self, *told: Any) -> None:
        self.kept.append(told)


def test_who_asks_for_what() -> None:
    """Before it is done, and once more when it is refused."""
    notes = Notes()
    request = Request({"type": "http", "path_params": {"model": "m"}, "state": {"caller": "ci"}})
    chronicle = cast(Chronicle, notes)
    with asked(chronicle, request, "weight", weight="5%"):
        assert len(notes.kept) == 1
    with pytest.raises(Conflict), asked(chronicle, request, "undo"):
        raise Conflict("nothing to undo", reason="no_standby")
    told = {"by": "ci", "refused": None, "detail": None}
    assert notes.kept == [
        ("operator", "m", {"asked": "weight", "weight": "5%", **told}),
        ("operator", "m", {"asked": "undo", **told}),
        ("operator", "m", {"asked": "undo", "by": "ci", "refused": "no_standby", "detail": "nothing to undo"}),
    ]


def test_the_verbs_of_the_port_are_told(shared_server: Server) -> None:
    """A push, and an undo that is refused; whoever asks a server without tokens has no name."""
    with Listener(shared_server, "?model=asked_told&types=operator") as listener:
        shared_server.deploy("asked_told", onnx_models.scale(2).SerializeToString())
        assert exchange(shared_server.control_port, "POST", "/v1/models/asked_told/rollout/undo").status == 409
        pushed, undo, refused = listener.next(), listener.next(), listener.next()
    assert (pushed["asked"], pushed["by"], pushed["version"]) == ("push", None, None)
    assert (undo["asked"], undo["refused"]) == ("undo", None)
    assert (refused["asked"], refused["refused"]) == ("undo", "no_standby")
