"""What all gateways know because a client has told one of them; it stands in the board's common area."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from changeover.errors import Internal
from changeover.transport.board import COMMON, Board

log = logging.getLogger("changeover.gateway")


class Region(msgspec.Struct, frozen=True):
    """A registered shared memory region.

    Attributes:
        key: name of the shared memory object, as the client gave it.
        offset: bytes from the object's begin to the region's.
        byte_size: of the region.
        device, inode: of the object's file, which must still be the same when another gateway opens it.
    """

    key: str
    offset: int
    byte_size: int
    device: int
    inode: int


class Known(msgspec.Struct, frozen=True):
    """Everything in the common area.

    Attributes:
        log: log settings that were changed.
        regions: by name.
    """

    log: dict[str, bool | int] = {}
    regions: dict[str, Region] = {}


class Common:
    """The common area, read anew when it was written."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._number = 0
        self._known = Known()

    @property
    def known(self) -> Known:
        """What is known now: one look at memory where nothing was changed."""
        number = self.board.number(COMMON)
        if number != self._number:
            self._number = number  # before the text: a newer one is read again
            try:
                self._known = _decoded(self.board.read(COMMON))
            except Internal as error:
                log.warning("what gateways share cannot be read: %s", error.message)
        return self._known

    def change(self, change: Callable[[Known], Known]) -> None:
        """Replace what is known by what is made of it.

        Raises:
            Overloaded: another gateway is at it.
            Internal: there is no room.
            ChangeoverError: of `change`; nothing was changed.
        """
        self.board.change(lambda text: msgspec.json.encode(change(_decoded(text))))


def _decoded(text: bytes) -> Known:
    """The area's text; one that is damaged or of no sense is no reason to keep what it says."""
    try:
        return msgspec.json.decode(text, type=Known) if text else Known()
    except msgspec.MsgspecError as error:
        raise Internal(f"the gateways' common area: {error}", reason="board_damaged") from None
