"""Relief for a real process at idle priority, whose processor time the test tells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from changeover.runtime import quiet
from changeover.supervisor import relief, vitals
from changeover.supervisor.family import Member, Role
from changeover.supervisor.relief import Relief
from changeover.transport.link import Link, pair

IDLE, LIFTED = (os.SCHED_IDLE, 19), (os.SCHED_OTHER, relief.NICENESS)


class Patient:
    """A child at idle priority, and the looks at it."""

    def __init__(self, code: str = "import time; time.sleep(60)") -> None:
        ours, self._theirs = pair()
        self.child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        os.setpriority(os.PRIO_PROCESS, self.child.pid, 19)
        os.sched_setscheduler(self.child.pid, os.SCHED_IDLE, os.sched_param(0))
        self.member = Member(1, Role.PROVER, Link(ours), self.child.pid)
        self.looks: list[Callable[[], None]] = []
        self.now = self.used = 1.0
        self.done = False
        Relief(self._later).watch(self.member, lambda: self.done)

    def _later(self, _: float, call: Callable[[], None]) -> None:
        self.looks.append(call)

    def look(self, share: float) -> tuple[int, int]:
        """A tenth of a second later, with so much of a core in it: policy and niceness now."""
        self.now += 0.1
        self.used += 0.1 * share
        self.looks.pop()()
        return os.sched_getscheduler(self.child.pid), os.getpriority(os.PRIO_PROCESS, self.child.pid)

    def close(self) -> None:
        """End the child."""
        self.child.kill()
        self.child.communicate()
        self.member.link.close()
        self._theirs.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """Its processor time is what the test says."""
    made: list[Patient] = []
    monkeypatch.setattr(vitals, "processor_time", lambda _: made[0].used if made else 1.0)
    monkeypatch.setattr(relief, "monotonic", lambda: made[0].now if made else 1.0)
    monkeypatch.setattr(vitals, "wants_a_core", lambda _: True)
    made.append(Patient())
    yield made[0]
    made[0].close()


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_starves_is_lifted_and_put_back(patient: Patient) -> None:
    """More than half of a core is plenty, whatever it was before."""
    assert [patient.look(0.0), patient.look(0.0)] == [LIFTED, LIFTED]
    assert patient.look(0.9) == IDLE
    assert patient.look(0.0) == LIFTED


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_sits_out_a_burst_is_not_lifted(patient: Patient) -> None:
    """Beside a large model on a machine with time to spare it gets nothing for some tenths of a second, then all."""
    assert {patient.look(share) for share in (0.3, 0.2, 0.3, 0.0, 0.0, 0.4, 0.0, 0.0, 0.0, 0.3, 0.0)} == {IDLE}


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_starves_after_good_times_is_lifted_within_a_second(patient: Patient) -> None:
    """What it had before the last second does not count."""
    assert {patient.look(0.5) for _ in range(20)} == {IDLE}
    found = [patient.look(0.0) for _ in range(10)]
    assert found[-1] == LIFTED
    assert IDLE in found


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_gets_enough_for_half_a_second_is_put_back(patient: Patient) -> None:
    """Under contention alone this level has a tenth of a core: a fifth says that there is idle time."""
    assert patient.look(0.0) == LIFTED
    found = [patient.look(0.25) for _ in range(6)]
    assert found[:3] == [LIFTED] * 3
    assert found[-1] == IDLE


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_gets_a_tenth_of_a_core_stays_lifted(patient: Patient) -> None:
    """That is what the level brings on a full machine."""
    assert {patient.look(0.0)} | {patient.look(0.1) for _ in range(30)} == {LIFTED}


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_sleeps_does_not_starve(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that rests between its steps gets little because it asks for little."""
    monkeypatch.setattr(vitals, "wants_a_core", lambda _: False)
    assert patient.look(0.0) == IDLE


def test_where_it_is_not_allowed_it_stays_as_it_is(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody asks again."""

    def refused(niceness: int, task: int) -> None:
        raise PermissionError(1, f"no niceness {niceness} for {task}")

    monkeypatch.setattr(relief, "give_way", refused)
    assert patient.look(0.0) == IDLE
    assert patient.looks == []


def test_where_the_kernel_does_not_tell_nobody_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time at all would look like starving."""
    monkeypatch.setattr(vitals, "processor_time", lambda _: 0.0)
    starving = Patient()
    try:
        assert starving.looks == []
    finally:
        starving.close()


def test_who_has_ended_is_left_alone(patient: Patient) -> None:
    """Its number may be another's soon."""
    patient.member.reaped = True
    assert patient.look(0.0) == IDLE
    assert patient.looks == []


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_is_done_is_left_alone(patient: Patient) -> None:
    """A worker that is loaded brings its threads back itself."""
    patient.done = True
    assert patient.look(0.0) == IDLE
    assert patient.looks == []


THREADS = """
import os, threading, time
def idle():
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
    print(threading.get_native_id(), flush=True)
    time.sleep(60)
threading.Thread(target=idle).start()
"""


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_a_thread_that_starves_is_lifted_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker loads in one, while its first waits; one of the normal policy needs no relief."""
    monkeypatch.setattr(vitals, "processor_time", lambda _: 1.0)
    monkeypatch.setattr(vitals, "wants_a_core", lambda _: True)
    loading = Patient(THREADS)
    try:
        assert loading.child.stdout is not None
        thread = int(loading.child.stdout.readline())
        os.sched_setscheduler(loading.child.pid, os.SCHED_OTHER, os.sched_param(0))
        looks = loading.looks.pop
        looks()()  # the first look at this thread, where it was not born yet at the start
        looks()()
        assert (os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)) == LIFTED
        assert os.getpriority(os.PRIO_PROCESS, loading.child.pid) == 19
    finally:
        loading.close()
