"""Records of errands in a slot."""

from __future__ import annotations

import msgspec
import pytest

from changeover.errors import Internal
from changeover.gateway.sequences.errand import NOTHING, Errand, Nobody
from changeover.gateway.sequences.records import EMPTY, packed_records, take_records
from changeover.gateway.sequences.records import Layout as Places
from changeover.gateway.ticket import Batch
from changeover.sequences.declared import Layout
from changeover.sequences.saved import Token
from changeover.sequences.wire import POSITION, Ask, Status, Told, Verb, pack_told, unpack_asks
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import Message, Part
from tests.gateway.sequences.test_errand import Sender

LAYOUT = Layout([], [], 60.0, 10, "carry", 0, 16, 1000)


class _Target:
    leases = 0
    sequence = LAYOUT


def batch(count: int = 2) -> Batch:
    """Of errands."""
    errands = [Errand(Nobody(), None, _Target(), 1) for _ in range(count)]  # type: ignore[arg-type]
    for number, errand in enumerate(errands):
        errand.sent_by(Sender(), Ask(Verb.RELEASE, Token(1, number), bytes(16), b"\x017", to=3), NOTHING)
    return Batch(list(errands), count, 1)


def test_records_lie_behind_the_inputs() -> None:
    """The worker finds them at their place, in the order of the errands."""
    layout, records = packed_records(batch(), Places(b"", [], [], 128))
    (part,) = channel.unpack_parts(layout.packed, 1)
    assert (part.position, part.offset, part.nbytes, layout.need) == (POSITION, 128, len(records), 128 + len(records))
    assert [ask.token.number for ask in unpack_asks(records)] == [0, 1]
    assert packed_records(batch(), EMPTY)[0].need == len(records)


def _answer(told: list[Told], **changes: int) -> tuple[bytes, memoryview]:
    data = pack_told(told)
    part = Part(POSITION, Datatype.UINT8, (len(data),), 0, len(data), channel.aligned(len(data)))
    return channel.pack_parts([part._replace(**changes)]), memoryview(data)


def test_each_errand_gets_its_answer() -> None:
    """The outputs' descriptors are left."""
    sent = batch()
    body, memory = _answer([Told(Status.OK, 4), Told(Status.UNKNOWN)])
    assert take_records(sent, body, 1, memory) == (b"", 0)
    assert [t.told.status for t in sent.tickets if isinstance(t, Errand)] == [Status.OK, Status.UNKNOWN]


@pytest.mark.parametrize(
    ("told", "ran", "settled"),
    [
        ([Told(Status.OK, 4, 3, 3), Told(Status.OK, 4, 16, 90)], True, True),
        ([Told(Status.OK, 4, 3, 3), Told(Status.OK, 4, 15, 90)], True, False),
        ([Told(Status.OK, 4, 3, 3), Told(Status.UNKNOWN)], False, False),
        ([Told(Status.DUPLICATE, 4, 3, 3), Told(Status.OK, 4, 3, 3)], False, False),
    ],
)
def test_only_what_ran_is_weighed(told: list[Told], ran: bool, settled: bool) -> None:
    """A row that was refused took no time, and says nothing of how fast its version is; nor does a state of another."""
    sent = batch()
    for ticket in sent.tickets:
        ticket.kind = Message.STEP
    take_records(sent, *_parts(told))
    assert (sent.ran, sent.settled) == (ran, settled)
    without = batch()
    take_records(without, *_parts(told))
    assert not without.ran, "records alone run nothing"


def _parts(told: list[Told]) -> tuple[bytes, int, memoryview]:
    body, memory = _answer(told)
    return body, 1, memory


@pytest.mark.parametrize("changes", [{"position": 0}, {"offset": 8}, {"datatype": int(Datatype.FP32)}])
def test_records_that_make_no_sense_break_the_channel(changes: dict[str, int]) -> None:
    """Wrong place, outside of the memory, another type; and too few."""
    body, memory = _answer([Told(Status.OK), Told(Status.OK)], **changes)
    with pytest.raises(Internal):
        take_records(batch(), body, 1, memory)
    body, memory = _answer([Told(Status.OK)])
    with pytest.raises(Internal):
        take_records(batch(), body, 1, memory)
    with pytest.raises(Internal):
        take_records(batch(), b"", 0, memory)


def test_a_body_is_no_larger_than_a_state_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this loading; only a map back may make a larger one of it."""
    body, memory = _answer([Told(Status.OK, 4, body=bytes(2 << 20))])
    with pytest.raises(Internal):
        take_records(batch(1), body, 1, memory)
    grows = msgspec.structs.replace(LAYOUT, on_changeover="map", way_back="map")
    monkeypatch.setattr(_Target, "sequence", grows)
    assert take_records(batch(1), body, 1, memory) == (b"", 0)
