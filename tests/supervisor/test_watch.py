"""The look at all workers, with real processes as workers and the test as the supervisor's clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from changeover.supervisor import vitals
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Member, Role
from changeover.supervisor.loading import Loading
from changeover.supervisor.watch import Watch
from changeover.testing import wait_for
from changeover.transport.link import Link, pair

_GROWS = """
import sys
held = []
print(flush=True)
for _ in sys.stdin:
    held.append(b"x" * (32 << 20))
    print(flush=True)
"""


class Post:
    """A watch over one process."""

    def __init__(self, child: subprocess.Popen[str], limit: int) -> None:
        ours, self._theirs = pair()
        self.child = child
        self.member = Member(5, Role.WORKER, Link(ours), pid=child.pid, loading=1)
        self.timers: list[Callable[[], None]] = []
        self.loading = Loading(1, {"model": "m", "memory_limit": limit}, self.member)
        self.loading.base = vitals.private_bytes(child.pid)
        self.loadings = {1: self.loading}
        self.watch = Watch(self.loadings, lambda _, call: self.timers.append(call))
        self.watch.begin()

    def second(self) -> None:
        """A second passes."""
        self.timers.pop()()

    def close(self) -> None:
        self.member.link.close()
        self._theirs.close()


@pytest.fixture
def post() -> Iterator[Post]:
    """Over a process that takes 32 MiB for each line it reads, and may have 80."""
    command = [sys.executable, "-c", _GROWS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        made = Post(child, 80 << 20)
        yield made
        child.kill()
        made.close()


def grow(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    child.stdout.readline()


def test_a_worker_over_its_limit_is_killed(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """Below it lives; the log names what it uses and may use, and the cause is not a crash."""
    for _ in range(2):
        grow(post.child)
        post.second()
    assert post.child.poll() is None
    grow(post.child)
    post.second()
    assert post.child.wait(10) == -9
    assert "over its limit of 80 MiB (runtime.memory_limit)" in caplog.text
    assert post.watch.cause(post.member, -9) is Cause.MEMORY_LIMIT


def test_a_stopped_worker_is_killed_at_the_second_look(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """One that goes on in between is left alone."""
    process = psutil.Process(post.child.pid)
    for stopped in (True, False, True):
        process.suspend() if stopped else process.resume()
        wait_for(lambda want=stopped: vitals.is_stopped(process.pid) is want, "the state")  # type: ignore[misc]
        post.second()
    assert post.child.poll() is None
    post.second()
    assert post.child.wait(10) == -9
    assert "is stopped (SIGSTOP): killed" in caplog.text
    assert post.watch.cause(post.member, -9) is Cause.STOPPED


def test_it_looks_only_while_there_is_somebody(post: Post) -> None:
    """No loading, no timer; with the next one it looks again, once."""
    post.second()
    assert len(post.timers) == 1
    post.watch.begin()
    assert len(post.timers) == 1
    post.loadings.clear()
    post.second()
    assert post.timers == []
    post.watch.begin()
    assert len(post.timers) == 1


def test_a_look_that_fails_ends_nothing(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever one worker does to be unreadable, the watch goes on."""

    def unreadable(_: int) -> bool:
        raise ValueError("no such state")

    monkeypatch.setattr(vitals, "is_stopped", unreadable)
    post.second()
    assert "could not be looked at" in caplog.text
    assert len(post.timers) == 1


def test_causes_by_exit_code(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL that nobody here sent is the kernel's when its count of victims rose, else somebody's outside."""
    monkeypatch.setattr(vitals, "oom_kills", lambda: 0)
    post.second()
    post.second()
    assert post.watch.cause(post.member, -11) is Cause.CRASHED
    assert post.watch.cause(post.member, 0) is Cause.CRASHED
    assert post.watch.cause(post.member, -9) is Cause.KILLED
    monkeypatch.setattr(vitals, "oom_kills", lambda: 1)
    post.second()  # counts the victim before it is reaped
    for _ in range(2):  # two victims at once
        assert post.watch.cause(post.member, -9) is Cause.OUT_OF_MEMORY
    post.second()
    assert post.watch.cause(post.member, -9) is Cause.KILLED
