"""Who owes an answer, and when the waiting for it ends."""

from __future__ import annotations

import pytest

from changeover.controller import question
from changeover.controller.members import GatewayState
from changeover.errors import Internal
from tests.controller.house import acknowledged


def test_a_question_knows_who_owes() -> None:
    """For a commit all that live, for an acknowledgement those in service."""
    serving, joining, answered = GatewayState(1, 1, ready=True), GatewayState(2, 2), GatewayState(3, 3, ready=True)
    answered.prepared[(1, 7)] = None
    answered.acknowledge(acknowledged(7, {}), 5)
    gateways = [serving, joining, answered]
    assert question.committed(1, 7, joining=False).owing(gateways) == [serving]
    assert question.committed(1, 7, joining=True).owing(gateways) == [serving, joining]
    assert question.prepare(1, [7]).owing(gateways) == [serving, joining, answered]  # dropped at the acknowledgement


@pytest.mark.parametrize(
    ("gateway", "due"),
    [
        (GatewayState(1, 1, ready=True, since=50.0), 100.0 + question.SILENCE),
        (GatewayState(1, 1, ready=True, since=150.0), 150.0 + question.SILENCE),
        (GatewayState(1, 1, since=50.0), 100.0 + question.JOINING),
        (GatewayState(1, 1, ready=True, since=50.0, killed=101.0), 101.0 + question.REPLACED),
    ],
)
def test_the_time_to_answer_begins_when_it_can_answer(gateway: GatewayState, due: float) -> None:
    """When it was asked, or when it came into service after that; a killed one has the time to die."""
    asked = question.prepare(1, [7])
    asked.asked[1] = 100.0
    assert asked.due(gateway) == due
    assert asked.overdue([gateway], due - 0.001) == []


def test_one_that_outlives_its_killing_is_an_error() -> None:
    """A process in an uninterruptible wait; nothing may be committed past it."""
    asked = question.prepare(1, [7])
    late, undead = GatewayState(1, 1, ready=True, since=1.0), GatewayState(2, 2, ready=True, since=1.0, killed=1.0)
    assert asked.overdue([late], 100.0) == [late]
    with pytest.raises(Internal) as refused:
        asked.overdue([late, undead], 100.0)
    assert refused.value.reason == "gateway_silent"
