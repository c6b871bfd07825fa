"""What a slot says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.sequences.record import Mark, made_brief, made_record, new_head, read_head
from changeover.sequences.saved import Flag, Saved, peek, state_bytes
from tests.sequences.test_saved import saved

KEY = bytes(range(16))
STEP: Saved = saved()


def test_a_new_head_names_its_sequence() -> None:
    """Nothing else is said in it, and an id that does not fit is refused."""
    head = read_head(new_head(KEY, b"\x017"))
    assert (head.key, head.tag, head.last_use, head.moved_to, head.marked) == (KEY, b"\x017", 0, 0, 0)
    with pytest.raises(ValueError, match="an id of"):
        new_head(KEY, bytes(200))


@pytest.mark.parametrize(
    ("flags", "marked", "mark"),
    [
        (Flag(0), 0, Mark.LIVE), (Flag.END, 0, Mark.ENDED), (Flag(0), 5 << 8 | 1, Mark.RELEASED),
        (Flag(0), 4 << 8 | 1, Mark.LIVE), (Flag(0), 5 << 8 | 9, Mark.LIVE),
    ],
)  # fmt: skip
def test_a_mark_is_of_one_commit(flags: Flag, marked: int, mark: Mark) -> None:
    """The one that it was made for; one that nobody knows is none. Brief and whole say the same."""
    data = replace(STEP, flags=flags).pack()
    head = bytearray(new_head(KEY, b"\x017"))
    head[24:40] = (9).to_bytes(8, "little") + marked.to_bytes(8, "little")
    record = made_record(3, 5 << 1, bytes(head), data)
    brief = made_brief(3, 5 << 1, bytes(head), (peek(data), state_bytes(data)))
    assert (record.mark, record.moved_to) == (mark, 9 if mark is Mark.RELEASED else 0)
    assert (brief.mark, brief.key, brief.tag, brief.summary) == (mark, KEY, b"\x017", record.summary)
    assert brief.state_bytes == sum(len(state.data) for state in record.saved.states) > 0
