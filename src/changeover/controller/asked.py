"""What people ask of the control port, as events: who asked for what, and why it was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from changeover.controller.events.chronicle import Chronicle
from changeover.errors import ChangeoverError


@contextmanager
def asked(chronicle: Chronicle, request: Request, verb: str, **more: str | None) -> Iterator[None]:
    """Round what is done: told before it, for what it brings about is told meanwhile; and again when it is refused.

    Args:
        chronicle: gets the events.
        request: tells the model, and who asks: the name of a token, or None where nobody has to say.
        verb: what is asked for.
        more: of it.
    """
    model = request.path_params["model"]
    told = {"asked": verb, "by": getattr(request.state, "caller", None), **more}
    chronicle.note("operator", model, {**told, "refused": None, "detail": None})
    try:
        yield
    except ChangeoverError as error:
        chronicle.note("operator", model, {**told, "refused": error.reason, "detail": error.message})
        raise
