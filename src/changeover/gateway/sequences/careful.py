"""A defect in one step is that step's alone: its client hears of it, and its line, its worker and the clock go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from changeover.errors import ChangeoverError, Internal

log = logging.getLogger("changeover.gateway")


class GivesUp(Protocol):
    """What can end with an error: a step."""

    def give_up(self, error: ChangeoverError) -> None:
        """Tell whoever waits, and make way for the next."""


_Step = TypeVar("_Step", bound=GivesUp)
_More = ParamSpec("_More")


def careful(method: Callable[Concatenate[_Step, _More], None]) -> Callable[Concatenate[_Step, _More], None]:
    """Make an entry of a step one that does not raise."""

    @wraps(method)
    def guarded(self: _Step, /, *args: _More.args, **kwargs: _More.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except ChangeoverError as error:
            self.give_up(error)
        except Exception:
            log.exception("a step of a sequence met a defect")
            self.give_up(Internal("this step met a defect of the server; its log has more"))

    return guarded
