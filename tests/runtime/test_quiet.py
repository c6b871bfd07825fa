"""Loading low and serving normal: whatever method works here, nothing stays low afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

from changeover.runtime import quiet
from changeover.runtime.quiet import Quiet

METHODS = [m for m in Quiet if m is not Quiet.AUTOGROUP or quiet._autogroup_works()]


def niceness() -> int:
    """Of this thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.parametrize("how", METHODS)
def test_the_result_comes_back_and_priorities_with_it(how: Quiet) -> None:
    """The caller's thread and cores are as before."""
    if how is Quiet.NICENESS and not quiet._may_renice():
        pytest.skip("raising a thread's priority again is not allowed here")
    before = niceness(), os.sched_getaffinity(0)
    assert quiet.run_quietly(lambda: 42, how) == 42
    assert (niceness(), os.sched_getaffinity(0)) == before


@pytest.mark.parametrize("how", [Quiet.THREAD, Quiet.AFFINITY])
def test_the_work_itself_is_low(how: Quiet) -> None:
    """Niceness 19 and the idle policy in the loader's thread, or one core."""
    seen = quiet.run_quietly(lambda: (niceness(), os.sched_getscheduler(0), len(os.sched_getaffinity(0))), how)
    assert seen[:2] == (19, os.SCHED_IDLE) if how is Quiet.THREAD else seen[2] == 1


def test_errors_come_back_as_they_are() -> None:
    """And the cores are given back too."""

    def fail() -> None:
        raise KeyError("lost")

    cores = os.sched_getaffinity(0)
    with pytest.raises(KeyError, match="lost"):
        quiet.run_quietly(fail, Quiet.AFFINITY)
    assert os.sched_getaffinity(0) == cores


def test_threads_started_meanwhile_are_set_back() -> None:
    """A pool that the load left behind must not serve at low priority."""
    if not quiet._may_renice():
        pytest.skip("raising a thread's priority again is not allowed here")
    code = (
        "import os, threading, changeover.runtime.quiet as q\n"
        "stop = threading.Event()\n"
        "threads = []\n"
        "def load():\n"
        "    t = threading.Thread(target=stop.wait); t.start(); threads.append(t)\n"
        "q.run_quietly(load, q.Quiet.NICENESS)\n"
        "tasks = [int(t) for t in os.listdir('/proc/self/task')]\n"
        "print(max(os.getpriority(os.PRIO_PROCESS, t) + os.sched_getscheduler(t) for t in tasks))\n"
        "stop.set()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == niceness() + os.SCHED_OTHER


def test_a_process_that_began_low_serves_normal() -> None:
    """Whatever was lowered at its fork is back after the load."""
    if not quiet._may_renice():
        pytest.skip("raising a thread's priority again is not allowed here")
    code = (
        "import os, changeover.runtime.quiet as q\n"
        "def now(): return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)\n"
        "q.begin_low(); low = now()\n"
        "q.run_quietly(lambda: None, q.Quiet.NICENESS); print(*low, *now())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [int(word) for word in done.stdout.split()] == [19, os.SCHED_IDLE, niceness(), os.SCHED_OTHER]


def test_a_server_that_was_started_nice_stays_so() -> None:
    """What comes back comes back to the server's niceness, not to the machine's default."""
    if not quiet._may_renice():
        pytest.skip("raising a thread's priority again is not allowed here")
    code = (
        "import os; os.nice(3); import changeover.runtime.quiet as q; before = os.getpriority(os.PRIO_PROCESS, 0)\n"
        "q.begin_low(); q.run_quietly(lambda: None, q.Quiet.NICENESS)\n"
        "print(before, os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 0 < before == after < 19


def test_a_method_is_always_found() -> None:
    """Without any privilege: a low thread for one-threaded loads, one core for others."""
    assert quiet.method(1) in Quiet
    assert quiet.method(4) is not Quiet.THREAD


def test_a_process_of_the_root_autogroup_takes_another_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a boot process started is in no autogroup: its file is empty, and the kernel refuses to change it."""
    switch, group = tmp_path / "switch", tmp_path / "group"
    switch.write_text("1\n")
    group.write_text("")
    monkeypatch.setattr(quiet, "_AUTOGROUP_SWITCH", switch)
    monkeypatch.setattr(quiet, "_AUTOGROUP", group)
    monkeypatch.setattr(quiet, "_may_renice", lambda: False)
    assert quiet.method(1) is Quiet.THREAD
    group.write_text("/autogroup-12 nice 0\n")
    assert quiet.method(1) is Quiet.AUTOGROUP


@pytest.mark.parametrize(
    ("how", "for_good", "alone"),
    [(Quiet.AUTOGROUP, False, True), (Quiet.AUTOGROUP, True, False), (Quiet.NICENESS, False, False)],
)
def test_only_an_autogroup_that_comes_back_takes_a_session(how: Quiet, for_good: bool, alone: bool) -> None:
    """In any other session niceness counts for nothing; the process group is its own always."""
    code = (
        "import os; from changeover.runtime import quiet; "
        f"quiet.method = lambda: quiet.Quiet('{how}'); quiet.stand_apart(for_good={for_good}); "
        "print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed.split() == [str(alone), "True"]


@pytest.mark.skipif(not quiet._autogroup_works(), reason="this kernel has no autogroups")
def test_who_stays_low_leaves_the_session_alone() -> None:
    """Its autogroup is the server's: lowered by a prover, the gateways would be low with it, for good."""
    code = (
        "import os; os.setsid(); from changeover.runtime import quiet; group = open('/proc/self/autogroup').read();"
        "quiet.stand_apart(for_good=True) if not os.fork() else os._exit(os.wait()[1] >> 8); quiet.stay_low();"
        "print(open('/proc/self/autogroup').read() == group, os.nice(0))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed.split() == ["True", "19"]


@pytest.mark.parametrize(
    ("others", "hurry", "took", "rests"),
    [
        (2, False, 0.003, [0.012]),
        (2, False, 0.029, [0.012]),
        (2, False, 0.031, []),
        (0, False, 0.003, []),
        (2, True, 0.003, []),
    ],
)
def test_a_load_rests_where_others_want_the_cores(
    monkeypatch: pytest.MonkeyPatch, others: int, hurry: bool, took: float, rests: list[float]
) -> None:
    """In proportion to its work; not where nobody else has any, nor while clients wait, nor after it had no core."""
    slept: list[float] = []
    worked, now = iter([5.0, 5.0, 5.003, 5.003]), iter([90.0, 90.0 + took, 91.0])
    monkeypatch.setattr(quiet, "_others_running", lambda: others)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "thread_time", lambda: next(worked))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    pace = quiet.Pace(hurry=hurry)
    pace.rest()
    assert slept == []
    pace.rest()
    assert slept == pytest.approx(rests)


def test_who_wants_a_core_is_counted() -> None:
    """Four processes that never sleep are seen, and not while they are stopped: both in turns, beside whatever runs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    seen: dict[signal.Signals, list[int]] = {signal.SIGSTOP: [], signal.SIGCONT: []}
    try:
        for number in (signal.SIGSTOP, signal.SIGCONT) * 5:
            for other in others:
                other.send_signal(number)
            seen[number] += [quiet._others_running() for _ in range(50) if time.sleep(0.002) is None]
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert median(seen[signal.SIGCONT]) >= median(seen[signal.SIGSTOP]) + 2


@pytest.mark.parametrize(("passes", "brought_back"), [(61.0, True), (59.0, False)])
def test_a_lowered_thread_is_brought_back_when_it_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, passes: float, brought_back: bool
) -> None:
    """On a busy machine it would never end; one that has patience left stays low, and each is normal afterwards."""
    if not quiet._may_renice():
        pytest.skip("raising a thread's priority again is not allowed here")
    policies: list[int] = []
    now = [1000.0]
    monkeypatch.setattr(quiet, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))

    def body() -> None:
        with quiet.lowered(60.0):
            policies.append(os.sched_getscheduler(0))
            now[0] += passes
            until = time.monotonic() + (60.0 if brought_back else 1.0)
            while os.sched_getscheduler(0) == os.SCHED_IDLE and time.monotonic() < until:
                time.sleep(0.01)
            policies.append(os.sched_getscheduler(0))
        policies.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert policies == [os.SCHED_IDLE, os.SCHED_OTHER if brought_back else os.SCHED_IDLE, os.SCHED_OTHER]
