"""Which workers live, with a supervisor's messages taken from real links and no process behind them."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from typing import Any

import pytest

from changeover.errors import Internal
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.workers import Workers
from changeover.transport.link import Frame, Kind, Link, frame, pair


class House:
    """A family whose members' other link ends are here."""

    def __init__(self) -> None:
        self.family = Family()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.workers = Workers(self.family, lambda delay, call: self.timers.append((delay, call)))
        self.ends: dict[int, Link] = {}
        self.killed: list[tuple[int, str]] = []
        self.zygote = self.member(Role.ZYGOTE, ready=True)
        self.controller = self.member(Role.CONTROLLER)
        self.gateway = self.member(Role.GATEWAY)

    def member(self, role: Role, *, ready: bool = False) -> Member:
        ours, theirs = pair()
        made = self.family._add(role, Link(ours))
        made.ready = ready
        self.ends[made.number] = Link(theirs)
        return made

    def heard(self, member: Member) -> list[tuple[Kind, Any]]:
        """All messages a member got."""
        found = []
        while (message := self.ends[member.number].receive()) is not None:
            found.append((message.kind, message.json()))
        return found

    def worker(self, loading: int) -> Member:
        found = self.workers.loadings[loading].member
        assert found is not None
        found.kill = lambda cause="": self.killed.append((found.number, cause))  # type: ignore[method-assign]
        return found

    def ready(self, loading: int, pid: int = 4711) -> Member:
        """Spawn a worker, name it, and let it say that it is ready."""
        self.workers.spawn({"loading": loading, "spec": {"model": "m"}})
        return self.up(loading, pid)

    def up(self, loading: int, pid: int) -> Member:
        worker = self.worker(loading)
        worker.pid = pid
        self.workers.named(worker)
        size = {"slots": 2, "input_bytes": 64, "output_bytes": 64}
        body = {"loading": loading, "state": "ready", "signature": {"batchable": True}, "channels": size}
        self.workers.status(worker, frame(Kind.STATUS, body))
        return worker


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    """A house; members are slotted, so `kill` is replaced on a subclass."""

    class Loose(Member):
        """With a dictionary, so that a test can watch `kill`."""

    monkeypatch.setattr("changeover.supervisor.family.Member", Loose)
    return House()


def test_a_worker_is_forked_once_for_each_loading(house: House) -> None:
    """A SPAWN that comes twice makes one worker."""
    for _ in range(2):
        house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert [kind for kind, _ in house.heard(house.zygote)] == [Kind.FORK]


def test_only_a_first_load_is_quiet(house: House) -> None:
    """What a prover has proven is a first load all the same."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    house.workers.spawn({"loading": 2, "spec": {"model": "m", "signature": {}}})
    assert [body["quiet"] for _, body in house.heard(house.zygote)] == [True, True]


@pytest.mark.parametrize("carries", [True, False])
def test_a_replacement_that_nobody_waits_for_is_quiet_too(house: House, carries: bool) -> None:
    """A candidate in the shadow has no requests of its own; those of others would feel a load in a hurry."""
    house.workers.carries = lambda loading: carries and loading == 1
    worker = house.ready(1)
    house.heard(house.zygote)
    house.workers.died(worker, -11)
    _, start = house.timers[-1]
    start()
    ((_, body),) = house.heard(house.zygote)
    assert body["quiet"] is not carries


def test_a_channel_waits_for_a_ready_worker(house: House) -> None:
    """OPEN before the worker is ready is answered when it is, to both ends with the same names."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    house.workers.open(house.gateway, 1, None)
    assert house.heard(house.gateway) == []
    worker = house.up(1, 4711)
    ((kind, body),) = house.heard(house.gateway)
    assert (kind, body["loading"], body["worker"]) == (Kind.CHANNEL, 1, worker.number)


def test_a_channel_to_nothing_is_refused(house: House) -> None:
    """An unknown loading, and one that is being retired."""
    house.workers.open(house.gateway, 9, None)
    house.ready(1)
    house.workers.retire(1, 5.0)
    house.workers.open(house.gateway, 1, None)
    assert house.heard(house.gateway) == [(Kind.REFUSED, {"loading": 9}), (Kind.REFUSED, {"loading": 1})]


def test_a_ready_worker_that_dies_is_replaced_with_what_it_proved(house: House) -> None:
    """The replacement need not verify again, and waiting gateways get its channel."""
    worker = house.ready(1)
    house.heard(house.controller)
    house.workers.died(worker, -11)
    (_, body), (kind, health) = house.heard(house.controller)
    assert (body["code"], body["restart"], body["cause"]) == (-11, True, "crashed")
    assert (kind, health["circuit"], health["deaths"], health["code"]) == (Kind.HEALTH, "closed", 1, -11)
    house.workers.open(house.gateway, 1, worker.number)
    delay, start = house.timers[-1]
    start()
    replacement = house.up(1, 4712)
    assert delay == 0.0
    proven = {"model": "m", "verify": False, "signature": {"batchable": True}}
    assert house.workers.loadings[1].spec == proven
    assert [b["worker"] for k, b in house.heard(house.gateway) if k is Kind.CHANNEL] == [replacement.number]


def crash(house: House, times: int) -> None:
    """The worker of loading 1 is ready and dies at once, again and again."""
    for pid in range(4711, 4711 + times):
        worker = house.up(1, pid)
        house.workers.died(worker, -11)
        house.timers[-1][1]()  # the delay is over


def test_five_quick_deaths_open_the_circuit(house: House) -> None:
    """Gateways hear of it once it is open, the next try is 10 s away, and whoever asks meanwhile hears it too."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(house, 4)
    house.workers.open(house.gateway, 1, None)
    assert [k for k, _ in house.heard(house.gateway)] == []
    house.workers.died(house.up(1, 4800), -11)
    told = [body for kind, body in house.heard(house.gateway) if kind is Kind.HEALTH]
    assert [(b["circuit"], b["deaths"], round(b["wait"])) for b in told] == [("open", 5, 10)]
    assert house.timers[-1][0] == 10.0
    house.workers.open(house.gateway, 1, None)
    ((kind, body),) = house.heard(house.gateway)
    assert (kind, body["circuit"]) == (Kind.HEALTH, "open")
    assert house.workers.loadings[1].snapshot()["health"]["circuit"] == "open"


def test_an_open_circuit_tries_one_worker_a_period_and_a_stable_one_closes_it(house: House) -> None:
    """10 s, then 20 s; who waits gets the channel of the worker that is tried, and 10 s later all is well."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(house, 5)
    circuit = house.workers.loadings[1].circuit
    assert circuit.state == "half_open"
    house.workers.died(house.up(1, 4800), -6)
    assert (circuit.state, house.timers[-1][0]) == ("open", 20.0)
    house.timers[-1][1]()
    house.workers.open(house.gateway, 1, None)
    house.heard(house.gateway)
    house.heard(house.controller)
    house.up(1, 4801)
    assert [k for k, _ in house.heard(house.gateway)] == [Kind.CHANNEL]
    delay, prove = house.timers[-1]
    assert delay == 10.0
    prove()
    assert house.heard(house.controller)[-1][1]["circuit"] == "closed"
    house.workers.died(house.worker(1), -11)
    assert house.timers[-1][0] == 0.0


def test_a_replacement_gets_nothing_to_do_before_it_is_ready(house: House) -> None:
    """A load that takes longer than a run may would be taken for a worker that is stuck, and killed for ever."""
    house.workers.died(house.ready(1), -11)
    house.timers[-1][1]()
    replacement = house.worker(1)
    replacement.pid = 4712
    house.workers.open(house.gateway, 1, None)
    house.workers.named(replacement)
    assert house.heard(house.gateway) == []
    house.up(1, 4712)
    assert [(k, b["worker"]) for k, b in house.heard(house.gateway)] == [(Kind.CHANNEL, replacement.number)]


def test_nobody_waits_for_a_worker_that_is_only_tried(house: House) -> None:
    """Half open, a gateway that asks is told to refuse, as long as the worker is not ready."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(house, 5)
    house.heard(house.gateway)
    tried = house.worker(1)
    tried.pid = 4800
    house.workers.named(tried)
    house.workers.open(house.gateway, 1, None)
    assert house.workers.loadings[1].circuit.state == "half_open"
    assert [(k, b["circuit"]) for k, b in house.heard(house.gateway)] == [(Kind.HEALTH, "open")]
    house.up(1, 4800)
    assert [k for k, _ in house.heard(house.gateway)] == [Kind.CHANNEL]


def test_kills_from_outside_open_no_circuit(house: House) -> None:
    """A hundred SIGKILLs are no sign of a bad model: each worker is replaced within 0.2 s."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    house.workers.open(house.gateway, 1, None)
    for pid in range(100):
        worker = house.up(1, 5000 + pid)
        told = [body["blameless"] for kind, body in house.heard(house.gateway) if kind is Kind.CHANNEL]
        assert told == [pid > 0]  # the requests that the last one had in hand
        house.workers.died(worker, -9)
        house.workers.open(house.gateway, 1, worker.number)
        delay, start = house.timers[-1]
        assert delay <= 0.2
        start()
    assert house.workers.loadings[1].circuit.state == "closed"
    assert not [k for k, _ in house.heard(house.gateway)]


def test_a_replacement_that_never_gets_ready_is_given_up(house: House) -> None:
    """It does less than the first worker did, so five times that, at least 10 s, is enough; that death counts."""
    worker = house.ready(1)
    house.workers.died(worker, -11)
    house.timers[-1][1]()
    delay, give_up = house.timers[-1]
    replacement = house.worker(1)
    assert delay == 10.0
    give_up()
    assert house.killed == [(replacement.number, Cause.LOAD_TIMEOUT)]


def test_a_worker_that_never_was_ready_is_not_replaced(house: House) -> None:
    """Its death is the controller's to judge; whoever waits for it is refused."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = house.worker(1)
    worker.pid = 4711
    house.workers.open(house.gateway, 1, None)
    house.workers.died(worker, 1)
    assert house.heard(house.gateway) == [(Kind.REFUSED, {"loading": 1})]
    assert house.heard(house.controller)[-1][1]["restart"] is False
    assert house.workers.loadings == {}


def test_a_gateway_that_lost_the_present_worker_does_not_get_it_again(house: House) -> None:
    """The worker is dying, or has left the protocol: it is killed a little later if it still lives."""
    worker = house.ready(1)
    house.workers.open(house.gateway, 1, worker.number)
    assert house.heard(house.gateway) == []
    house.timers[-1][1]()
    assert house.killed == [(worker.number, Cause.DENOUNCED)]


def test_retiring_a_worker_between_two_lives_ends_the_loading(house: House) -> None:
    """The controller hears that it is gone, and the planned replacement is not started."""
    worker = house.ready(1)
    house.workers.died(worker, -9)
    house.heard(house.controller)
    house.workers.retire(1, 5.0)
    ((kind, body),) = house.heard(house.controller)
    assert (kind, body["loading"], body["restart"]) == (Kind.DIED, 1, False)
    house.timers[-1][1]()
    assert house.workers.loadings == {}


def test_retiring_a_worker_that_has_no_name_yet_kills_it_when_it_has(house: House) -> None:
    """Without this a worker that hangs while loading would live on after its retirement."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    house.workers.retire(1, 0.0)
    worker = house.worker(1)
    worker.pid = 4711
    house.workers.named(worker)
    assert house.killed == [(worker.number, "")]


def test_a_zygote_that_just_died_does_not_take_the_supervisor_along(house: House) -> None:
    """A FORK that cannot be sent is no error: the zygote's death brings the next one."""
    house.ends[house.zygote.number].close()
    house.zygote.pid = None
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert house.workers.loadings[1].member is not None


def out_of_descriptors(*_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_worker_that_finds_no_room_is_forked_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors: the supervisor lives, nothing is left behind, and a second later there is room."""
    members = len(house.family.members)
    with monkeypatch.context() as full:
        full.setattr("changeover.transport.link.os.dup", out_of_descriptors)
        house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    assert len(house.family.members) == members
    assert house.workers.loadings[1].member is None
    delay, start = house.timers[-1]
    start()
    assert delay == 1.0
    assert [kind for kind, _ in house.heard(house.zygote)] == [Kind.FORK]


def test_a_channel_that_finds_no_room_is_made_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for its descriptors nor for their copies; whoever waits for it gets it a second later."""
    worker = house.ready(1)
    gc.collect()  # what other tests left behind
    before = len(os.listdir("/proc/self/fd"))
    for place in ("workers.channel.create", "family.Link.send"):
        with monkeypatch.context() as full:
            full.setattr(f"changeover.supervisor.{place}", out_of_descriptors)
            house.workers.open(house.gateway, 1, None)
        delay, again = house.timers.pop()
        assert delay == 1.0
        assert len(os.listdir("/proc/self/fd")) == before
        again()
        assert [(k, b["worker"]) for k, b in house.heard(house.gateway)] == [(Kind.CHANNEL, worker.number)]
        before = len(os.listdir("/proc/self/fd"))


def test_a_zygote_that_forks_nobody_is_killed(house: House) -> None:
    """Stopped or hung: its successor forks. One that told the worker's pid in time is left alone."""
    house.zygote.kill = lambda cause="": house.killed.append((house.zygote.number, cause))  # type: ignore[method-assign]
    for loading, pid in ((1, 4711), (2, None)):
        house.workers.spawn({"loading": loading, "spec": {"model": "m"}})
        house.worker(loading).pid = pid
        delay, look = house.timers[-1]
        look()
        assert delay == 5.0
        assert house.killed == ([] if pid else [(house.zygote.number, Cause.STOPPED)])


def test_a_status_goes_on_to_the_controller(house: House) -> None:
    """With the worker's number, whatever the worker wrote there."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = house.worker(1)
    house.workers.status(worker, Frame(Kind.STATUS, b'{"loading": 1, "state": "loading"}', source=99))
    message = house.ends[house.controller.number].receive()
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
def test_a_report_that_makes_no_sense_is_refused(house: House, told: dict[str, Any]) -> None:
    """On another loading, in no known state, or with a channel that nobody could make: nothing is believed."""
    house.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    worker = house.worker(1)
    with pytest.raises((Internal, KeyError, ValueError)):
        house.workers.status(worker, frame(Kind.STATUS, told))
    assert not house.workers.loadings[1].ready_once
    assert house.heard(house.controller) == []


def test_a_state_is_reported_once(house: House) -> None:
    """A flood of reports does not reach the controller; the replacement starts anew."""
    worker = house.ready(1)
    with pytest.raises(ValueError, match="state ready after ready"):
        house.workers.status(worker, frame(Kind.STATUS, {"loading": 1, "state": "ready"}))
    house.workers.died(worker, -9)
    house.timers.pop()[1]()
    assert house.up(1, 4712) is not worker
