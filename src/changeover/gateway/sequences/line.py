"""The line of one sequence at this gateway: one step is under way, the others park in their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, Protocol

MOST_IDLE: Final = 16_384
"""Lines kept of a model, for what they know: where the record was last."""


class Waits(Protocol):
    """What stands in a line: a step."""

    def begin(self) -> None:
        """It is its turn; it says `Line.leave` when it is done, at once or later."""


class Line:
    """Who is under way with a sequence and who waits.

    Attributes:
        key, tag: of the sequence (`sequences.wire`).
        owner: the loading that had its record last, None when that is not known.
        stays: the record is there because the shield has put it there.
    """

    __slots__ = ("_turning", "_waiting", "current", "key", "owner", "stays", "tag")

    def __init__(self, key: bytes, tag: bytes) -> None:
        self.key = key
        self.tag = tag
        self.owner: int | None = None
        self.stays = False
        self.current: Waits | None = None
        self._waiting: deque[Waits] = deque()
        self._turning = False

    @property
    def free(self) -> bool:
        """Whether nobody is there."""
        return self.current is None and not self._waiting

    def join(self, step: Waits) -> None:
        """Stand behind the others; who finds nobody begins at once."""
        self._waiting.append(step)
        self._turn()

    def leave(self, step: Waits) -> None:
        """Done, or not wanted any more."""
        if self.current is step:
            self.current = None
            self._turn()
        elif step in self._waiting:
            self._waiting.remove(step)

    def _turn(self) -> None:
        """The next ones, in a loop: each may be done before its `begin` returns."""
        if self._turning:
            return
        self._turning = True
        try:
            while self.current is None and self._waiting:
                self.current = self._waiting.popleft()
                self.current.begin()
        finally:
            self._turning = False


class Lines:
    """The lines of one model, the one used last at the end."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[bytes, Line] = OrderedDict()

    def of(self, key: bytes, tag: bytes) -> Line:
        """The line of a sequence; the one unused for longest goes when there are too many."""
        line = self._by_key.get(key)
        if line is not None:
            self._by_key.move_to_end(key)
            return line
        line = self._by_key[key] = Line(key, tag)
        if len(self._by_key) > MOST_IDLE:
            self._drop_oldest()
        return line

    def busy(self, key: bytes) -> bool:
        """Whether somebody is there."""
        line = self._by_key.get(key)
        return line is not None and not line.free

    def forget(self, line: Line) -> None:
        """Nothing is to be remembered of a sequence that nobody stands in line for."""
        if line.free:
            self._by_key.pop(line.key, None)

    def _drop_oldest(self) -> None:
        for line in self._by_key.values():
            if line.free:
                del self._by_key[line.key]
                return

    def __iter__(self) -> Iterator[Line]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)
