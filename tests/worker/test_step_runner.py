"""Messages of steps that make no sense, from a gateway that has gone wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from changeover.errors import Internal
from changeover.sequences.saved import Flag
from changeover.sequences.wire import POSITION, Status, Verb
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import Header, Message, Part
from tests.worker.sequence_parts import SUM, Gateway, ask, load, memory, running_sum


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A channel to a worker of the model that sums up."""
    session = load(tmp_path, running_sum(), SUM)
    return Gateway(session, memory(session.layout.geometry))


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Part(0, Datatype.FP32, (1, 4), 0, 16, 64)],
        [Part(POSITION, Datatype.FP32, (1,), 0, 4, 64)],
        [Part(POSITION, Datatype.UINT8, (1 << 20,), 0, 1 << 20, 1 << 20)],
        [Part(POSITION, Datatype.UINT8, (3,), 0, 3, 64)],
    ],
)
@pytest.mark.parametrize("kind", [Message.STEP, Message.RECORDS])
def test_steps_without_records_break_the_channel(gateway: Gateway, parts: list[Part], kind: Message) -> None:
    """No part, another one, one of another type, outside of the slot, or too short."""
    gateway.sock.send(channel.pack(Header(kind, 0, 1, 1), channel.pack_parts(parts), len(parts)))
    with pytest.raises(Internal) as caught:
        gateway.runner.serve_one()
    assert caught.value.reason == "channel_malformed"


def test_records_alone_are_answered_in_their_order(gateway: Gateway) -> None:
    """Several verbs in one message."""
    gateway.step([ask("a", 1, Flag.START), ask("b", 2, Flag.START)], np.ones((2, 4), np.float32))
    told = gateway.tell(
        ask("a", 0, verb=Verb.RELEASE, to=9), ask("c", 0, verb=Verb.FORGET), ask("b", 0, verb=Verb.FORGET)
    )
    assert [one.status for one in told] == [Status.OK, Status.UNKNOWN, Status.OK]
    assert told[0].body


def test_a_plain_run_is_a_first_step_that_leaves_nothing_behind(gateway: Gateway) -> None:
    """No gateway sends one; it changes no sequence."""
    gateway.memory.inputs[0][:16] = np.ones(4, np.float32).tobytes()
    parts = channel.pack_parts([Part(0, Datatype.FP32, (1, 4), 0, 16, 64)])
    gateway.sock.send(channel.pack(Header(Message.RUN, 0, 1, 1), parts, 1))
    assert gateway.runner.serve_one()
    assert not list(gateway.slab.briefs())
