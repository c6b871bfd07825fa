"""Which workers live, with a supervisor's messages taken from real links and no process behind them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from changeover.errors import Internal
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Member
from changeover.transport.link import Frame, Kind, frame
from tests.descriptors import held
from tests.supervisor.house import Crew


def test_a_worker_is_forked_once_for_each_loading(crew: Crew) -> None:
    """A SPAWN that comes twice makes one worker."""
    for _ in range(2):
        crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert [kind for kind, _ in crew.heard(crew.zygote)] == [Kind.FORK]


def test_only_a_first_load_is_quiet(crew: Crew) -> None:
    """What a prover has proven is a first load all the same."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.spawn({"loading": 2, "spec": {"model": "m", "signature": {}}})
    assert [body["quiet"] for _, body in crew.heard(crew.zygote)] == [True, True]


@pytest.mark.parametrize("carries", [True, False])
def test_a_replacement_that_nobody_waits_for_is_quiet_too(crew: Crew, carries: bool) -> None:
    """A candidate in the shadow has no requests of its own; those of others would feel a load in a hurry."""
    crew.workers.carries = lambda loading: carries and loading == 1
    worker = crew.ready(1)
    crew.heard(crew.zygote)
    crew.workers.died(worker, -11)
    _, start = crew.timers[-1]
    start()
    ((_, body),) = crew.heard(crew.zygote)
    assert body["quiet"] is not carries


def test_a_channel_waits_for_a_ready_worker(crew: Crew) -> None:
    """OPEN before the worker is ready is answered when it is, to both ends with the same names."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.open(crew.gateway, 1, None)
    assert crew.heard(crew.gateway) == []
    worker = crew.up(1, 4711)
    ((kind, body),) = crew.heard(crew.gateway)
    assert (kind, body["loading"], body["worker"]) == (Kind.CHANNEL, 1, worker.number)


def test_a_channel_to_nothing_is_refused(crew: Crew) -> None:
    """An unknown loading, and one that is being retired."""
    crew.workers.open(crew.gateway, 9, None)
    crew.ready(1)
    crew.workers.retire(1, 5.0)
    crew.workers.open(crew.gateway, 1, None)
    assert crew.heard(crew.gateway) == [(Kind.REFUSED, {"loading": 9}), (Kind.REFUSED, {"loading": 1})]


def test_a_ready_worker_that_dies_is_replaced_with_what_it_proved(crew: Crew) -> None:
    """The replacement need not verify again, and waiting gateways get its channel."""
    worker = crew.ready(1)
    crew.heard(crew.controller)
    crew.workers.died(worker, -11)
    (_, body), (kind, health) = crew.heard(crew.controller)
    assert (body["code"], body["restart"], body["cause"]) == (-11, True, "crashed")
    assert (kind, health["circuit"], health["deaths"], health["code"]) == (Kind.HEALTH, "closed", 1, -11)
    crew.workers.open(crew.gateway, 1, worker.number)
    delay, start = crew.timers[-1]
    start()
    replacement = crew.up(1, 4712)
    assert delay == 0.0
    proven = {"model": "m", "verify": False, "signature": {"batchable": True}}
    assert crew.workers.loadings[1].spec == proven
    assert [b["worker"] for k, b in crew.heard(crew.gateway) if k is Kind.CHANNEL] == [replacement.number]


def test_a_replacement_gets_nothing_to_do_before_it_is_ready(crew: Crew) -> None:
    """A load that takes longer than a run may would be taken for a worker that is stuck, and killed for ever."""
    crew.workers.died(crew.ready(1), -11)
    crew.timers[-1][1]()
    replacement = crew.worker(1)
    replacement.pid = 4712
    crew.workers.open(crew.gateway, 1, None)
    crew.workers.named(replacement)
    assert crew.heard(crew.gateway) == []
    crew.up(1, 4712)
    assert [(k, b["worker"]) for k, b in crew.heard(crew.gateway)] == [(Kind.CHANNEL, replacement.number)]


def test_a_replacement_that_never_gets_ready_is_given_up(crew: Crew) -> None:
    """It does less than the first worker did, so five times that, at least 10 s, is enough; that death counts."""
    worker = crew.ready(1)
    crew.workers.died(worker, -11)
    crew.timers[-1][1]()
    delay, give_up = crew.timers[-1]
    replacement = crew.worker(1)
    assert delay == 10.0
    give_up()
    assert crew.killed == [(replacement.number, Cause.LOAD_TIMEOUT)]


def test_a_worker_that_never_was_ready_is_not_replaced(crew: Crew) -> None:
    """Its death is the controller's to judge; whoever waits for it is refused."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = crew.worker(1)
    worker.pid = 4711
    crew.workers.open(crew.gateway, 1, None)
    crew.workers.died(worker, 1)
    assert crew.heard(crew.gateway) == [(Kind.REFUSED, {"loading": 1})]
    assert crew.heard(crew.controller)[-1][1]["restart"] is False
    assert crew.workers.loadings == {}


def test_a_gateway_that_lost_the_present_worker_does_not_get_it_again(crew: Crew) -> None:
    """The worker is dying, or has left the protocol: it is killed a little later if it still lives."""
    worker = crew.ready(1)
    crew.workers.open(crew.gateway, 1, worker.number)
    assert crew.heard(crew.gateway) == []
    crew.timers[-1][1]()
    assert crew.killed == [(worker.number, Cause.DENOUNCED)]


def test_retiring_a_worker_between_two_lives_ends_the_loading(crew: Crew) -> None:
    """The controller hears that it is gone, and the planned replacement is not started."""
    worker = crew.ready(1)
    crew.workers.died(worker, -9)
    crew.heard(crew.controller)
    crew.workers.retire(1, 5.0)
    ((kind, body),) = crew.heard(crew.controller)
    assert (kind, body["loading"], body["restart"]) == (Kind.DIED, 1, False)
    crew.timers[-1][1]()
    assert crew.workers.loadings == {}


def test_retiring_a_worker_that_has_no_name_yet_kills_it_when_it_has(crew: Crew) -> None:
    """Without this a worker that hangs while loading would live on after its retirement."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.retire(1, 0.0)
    worker = crew.worker(1)
    worker.pid = 4711
    crew.workers.named(worker)
    assert crew.killed == [(worker.number, "")]


def test_a_zygote_that_just_died_does_not_take_the_supervisor_along(crew: Crew) -> None:
    """A FORK that cannot be sent is no error: the zygote's death brings the next one."""
    crew.ends[crew.zygote.number].close()
    crew.zygote.pid = None
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert crew.workers.loadings[1].member is not None


def out_of_descriptors(*_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_worker_that_finds_no_room_is_forked_later(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors: the supervisor lives, nothing is left behind, and a second later there is room."""
    members = len(crew.family.members)
    with monkeypatch.context() as full:
        full.setattr("changeover.transport.link.os.dup", out_of_descriptors)
        crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert len(crew.family.members) == members
    assert crew.workers.loadings[1].member is None
    delay, start = crew.timers[-1]
    start()
    assert delay == 1.0
    assert [kind for kind, _ in crew.heard(crew.zygote)] == [Kind.FORK]


def test_a_channel_that_finds_no_room_is_made_later(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for its descriptors nor for their copies; whoever waits for it gets it a second later."""
    worker = crew.ready(1)
    before = held()
    for place in ("workers.channel.create", "family.Link.send"):
        with monkeypatch.context() as full:
            full.setattr(f"changeover.supervisor.{place}", out_of_descriptors)
            crew.workers.open(crew.gateway, 1, None)
        delay, again = crew.timers.pop()
        assert delay == 1.0
        assert not held() - before
        again()
        assert [(k, b["worker"]) for k, b in crew.heard(crew.gateway)] == [(Kind.CHANNEL, worker.number)]
        before = held()


def test_a_zygote_that_forks_nobody_is_killed(crew: Crew) -> None:
    """Stopped or hung: its successor forks. One that told the worker's pid in time is left alone."""
    crew.watched(crew.zygote)
    for loading, pid in ((1, 4711), (2, None)):
        crew.workers.spawn({"loading": loading, "spec": {"model": "m"}})
        crew.worker(loading).pid = pid
        delay, look = crew.timers[-1]
        look()
        assert delay == 5.0
        assert crew.killed == ([] if pid else [(crew.zygote.number, Cause.STOPPED)])


def test_a_status_goes_on_to_the_controller(crew: Crew) -> None:
    """With the worker's number, whatever the worker wrote there."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = crew.worker(1)
    crew.workers.status(worker, Frame(Kind.STATUS, b'{"loading": 1, "state": "loading"}', source=99))
    message = crew.ends[crew.controller.number].receive()
    assert message is not None
    assert (message.kind, message.source) == (Kind.STATUS, worker.number)


@pytest.mark.parametrize(
    "told",
    [
        {"loading": 2, "state": "loading"},
        {"loading": 1, "state": "dancing"},
        {"state": "loading"},
        {"loading": 1, "state": "ready", "signature": {}},
        {
            "loading": 1,
            "state": "ready",
            "signature": {},
            "channels": {"slots": 1, "input_bytes": -64, "output_bytes": 64},
        },
    ],
)
def test_a_report_that_makes_no_sense_is_refused(crew: Crew, told: dict[str, Any]) -> None:
    """On another loading, in no known state, or with a channel that nobody could make: nothing is believed."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = crew.worker(1)
    with pytest.raises((Internal, KeyError, ValueError)):
        crew.workers.status(worker, frame(Kind.STATUS, told))
    assert not crew.workers.loadings[1].ready_once
    assert crew.heard(crew.controller) == []


def test_a_state_is_reported_once(crew: Crew) -> None:
    """A flood of reports does not reach the controller; the replacement starts anew."""
    worker = crew.ready(1)
    with pytest.raises(ValueError, match="state ready after ready"):
        crew.workers.status(worker, frame(Kind.STATUS, {"loading": 1, "state": "ready"}))
    crew.workers.died(worker, -9)
    crew.timers.pop()[1]()
    assert crew.up(1, 4712) is not worker


def test_a_load_that_starves_is_looked_after(crew: Crew) -> None:
    """From when the worker has a pid until it is ready."""
    watched: list[tuple[Member, Callable[[], bool]]] = []
    crew.workers._relief.watch = lambda *given: watched.append(given)  # type: ignore[method-assign, assignment]
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = crew.worker(1)
    worker.pid = 4711
    crew.workers.named(worker)
    ((member, done),) = watched
    assert (member, done()) == (worker, False)
    crew.up(1, 4711)
    assert done()
