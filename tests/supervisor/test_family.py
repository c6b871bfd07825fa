"""Members: spawning, reaping, killing, with real processes of no consequence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from changeover.supervisor import family as families
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Family, Role, listen
from changeover.testing import wait_for
from changeover.transport.link import Kind, Link, frame, pair


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    """A family whose gateways sleep."""
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(families._MODULES, Role.GATEWAY, "sleeper")
    return Family()


def test_a_member_is_spawned_reaped_and_forgotten(family: Family) -> None:
    """Its exit code is that of its signal, and its number is never given again."""
    first = family.spawn(Role.GATEWAY, {}, [])
    assert repr(first) == f"<gateway 1 pid {first.pid}>"
    first.kill()
    ((dead, code),) = wait_for(lambda: list(family.reap()), "the death")
    assert (dead, code) == (first, -signal.SIGKILL)
    family.remove(first)
    second = family.spawn(Role.GATEWAY, {}, [])
    assert second.number == 2
    family.end()
    assert family.members == {}


def test_a_reaped_member_is_not_killed_again(family: Family) -> None:
    """Its pid may be another process's by then."""
    member = family.spawn(Role.GATEWAY, {}, [])
    member.kill()
    wait_for(lambda: list(family.reap()), "the death")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    member.pid = other.pid
    member.kill()
    assert not family.send(member, frame(Kind.STOP)), "a dead member's link is closed"
    assert other.poll() is None
    other.kill()
    other.wait()
    member.link.close()


def test_a_worker_reaped_before_it_was_named_keeps_its_status(family: Family) -> None:
    """The zygote's message may come after the worker's death; its pid is nobody's by then, and is not killed."""
    ours, theirs = pair()
    worker = family._add(Role.WORKER, Link(ours))
    child = subprocess.Popen([sys.executable, "-c", "import os; os._exit(7)"])
    wait_for(lambda: list(family.reap()) or family._unclaimed, "the death")
    child.returncode = 7
    assert family.named(worker.number, child.pid) == (worker, 7)
    worker.kill()
    worker.link.close()
    theirs.close()


def test_an_orphans_status_is_soon_forgotten(family: Family) -> None:
    """A live worker that has its pid later is not taken for dead."""
    ours, theirs = pair()
    worker = family._add(Role.WORKER, Link(ours))
    family._unclaimed[4711] = 7, families.monotonic() - 6.0
    assert family.named(worker.number, 4711) is None
    assert family._unclaimed == {}
    worker.link.close()
    theirs.close()


def test_who_is_killed_here_has_a_cause(family: Family) -> None:
    """One that closed its link and lives; but one that had ended by then was killed by somebody else."""
    causes = []
    for ends_first in (False, True):
        member = family.spawn(Role.GATEWAY, {}, [])
        assert member.pid is not None
        if ends_first:
            os.kill(member.pid, signal.SIGKILL)
            os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOWAIT)
        family.kill_if_alive(member, Cause.MALFORMED)
        wait_for(lambda: list(family.reap()), "the death")
        family.remove(member)
        family.kill_if_alive(member, Cause.DENOUNCED)
        causes.append(member.cause)
    assert causes == [Cause.MALFORMED, ""]


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_a_pid_that_is_nobodys_is_refused(family: Family, pid: int) -> None:
    """A signal to pid 0 would kill the supervisor's own group, to -1 all there is."""
    ours, theirs = pair()
    worker = family._add(Role.WORKER, Link(ours))
    with pytest.raises(ValueError, match=f"pid {pid}"):
        family.named(worker.number, pid)
    assert worker.pid is None
    worker.link.close()
    theirs.close()


def test_listening_twice_on_a_port_is_refused() -> None:
    """The kernel says so; nothing is shared by accident."""
    with listen("127.0.0.1", 0) as sock, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", sock.getsockname()[1])


def test_no_children_is_no_error() -> None:
    """Reaping with nothing to reap ends at once."""
    assert os.getpid()
    assert list(Family().reap()) == []
