"""What an application holds as long as an answer is wanted: the part that requests and calls have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_logger = logging.getLogger(__name__)


class Door(Protocol):
    """The connection that the answer goes to."""

    certified: bool

    def abort(self) -> None:
        """End the connection at once."""


DoorT = TypeVar("DoorT", bound=Door)


class Wanted(Generic[DoorT]):
    """A request or call in progress; the door is forgotten with the answer, or when the client goes away.

    Attributes:
        abandoned: set by the application; called once when the client goes away before the answer.
    """

    __slots__ = ("_door", "abandoned")

    _door: DoorT | None
    abandoned: Callable[[], None] | None

    def abandon(self) -> None:
        """The client is gone (called by the door): tell the application, unless it has answered."""
        if self._door is not None:
            self._door = None
            told, self.abandoned = self.abandoned, None
            try:
                if told is not None:
                    told()
            except Exception:
                _logger.exception("the application's abandoned() raised")

    @property
    def certified(self) -> bool:
        """Whether the client has shown a certificate that was verified."""
        return self._door is not None and self._door.certified

    @property
    def open(self) -> bool:
        """Whether an answer is still wanted."""
        return self._door is not None
