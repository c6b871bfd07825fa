"""The line of a sequence: one at a time, in order."""

from __future__ import annotations

from changeover.gateway.sequences import line as lines
from changeover.gateway.sequences.line import Line, Lines


class Step:
    """Writes down its turn; ends at once where it is told to."""

    def __init__(self, line: Line, turns: list[str], name: str, *, quick: bool = False) -> None:
        self.line, self.turns, self.name, self.quick = line, turns, name, quick

    def begin(self) -> None:
        """Its turn."""
        self.turns.append(self.name)
        if self.quick:
            self.line.leave(self)


def test_one_after_the_other_in_the_order_of_coming() -> None:
    """The next begins when the one before leaves; who leaves while waiting never begins."""
    line, turns = Line(b"k", b"t"), []
    a, b, c = (Step(line, turns, name) for name in "abc")
    for step in (a, b, c):
        line.join(step)
    assert turns == ["a"]
    line.leave(b)
    line.leave(a)
    assert turns == ["a", "c"]
    line.leave(c)
    assert line.free


def test_thousands_that_end_at_once_do_not_nest() -> None:
    """Each may be refused inside its `begin`."""
    line, turns = Line(b"k", b"t"), []
    first = Step(line, turns, "first")
    line.join(first)
    for _ in range(5000):
        line.join(Step(line, turns, "x", quick=True))
    line.leave(first)
    assert (len(turns), line.free) == (5001, True)


def test_what_nobody_uses_is_forgotten_first(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The memory of lines is bounded; who stands in one is never forgotten."""
    monkeypatch.setattr(lines, "MOST_IDLE", 2)
    kept = Lines()
    busy = kept.of(b"1", b"")
    busy.join(Step(busy, [], "a"))
    idle = kept.of(b"2", b"")
    kept.of(b"3", b"")
    assert kept.of(b"1", b"") is busy
    assert len(kept) == 2
    assert kept.of(b"2", b"") is not idle
