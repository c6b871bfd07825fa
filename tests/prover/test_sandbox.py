"""What a fenced process can no longer do; each try in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from changeover.prover import sandbox

_TRY = """
import ctypes, errno, fcntl, os, resource, socket, struct, sys
from pathlib import Path
from changeover.prover import sandbox
cache, other = Path(sys.argv[1]), Path(sys.argv[2])
victim, (pipe, _), x86 = int(sys.argv[3]), os.pipe(), os.uname().machine == "x86_64"
fences = sandbox.enter(cache)
(cache / "graph").write_text("fine"); (cache / "graph").rename(cache / "renamed"); (cache / "renamed").unlink()
(other / "there").read_text()
siginfo = struct.pack("iii116x", 10, 0, -1)  # SIGUSR1, SI_QUEUE
call = ctypes.CDLL(None, use_errno=True).syscall
def called(*arguments):
    if call(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
tries = {
    "connect": lambda: socket.socket(),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(victim, 0),
    "queued signal": lambda: called(129 if x86 else 138, victim, 10, siginfo),
    "signal by a pipe": lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, victim),
    "which signal": lambda: fcntl.fcntl(pipe, 10, 9),  # F_SETSIG
    "signal a thread by a pipe": lambda: fcntl.fcntl(pipe, 15, struct.pack("ii", 1, victim)),  # F_SETOWN_EX
    "signal by a socket": lambda: fcntl.ioctl(pipe, 0x8901, struct.pack("i", victim)),
    "group of a socket": lambda: fcntl.ioctl(pipe, 0x8902, struct.pack("i", victim)),
    "priority of others": lambda: os.setpriority(os.PRIO_PROCESS, victim, 19),
    "priority of a user": lambda: os.setpriority(os.PRIO_USER, 54321, 19),
    "policy of others": lambda: os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0)),
    "parameters of others": lambda: os.sched_setparam(victim, os.sched_param(0)),
    "attributes of others": lambda: called(314 if x86 else 274, victim, struct.pack("IIQiIQQQ", 48, 5, *[0] * 6), 0),
    "disk of others": lambda: called(251 if x86 else 30, 1, victim, 3 << 13),
    "own priority": lambda: (
        os.setpriority(os.PRIO_PROCESS, 0, 19), os.sched_setscheduler(os.getpid(), os.SCHED_IDLE, os.sched_param(0)),
        called(251 if x86 else 30, 1, 0, 3 << 13), fcntl.fcntl(pipe, fcntl.F_SETFD, fcntl.FD_CLOEXEC),
    ),
    "limits of others": lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE),
    "own limits": lambda: (
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0)), resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)
    ),
    "write": lambda: (other / "new").write_text("x"),
    "change": lambda: (other / "there").write_text("x"),
    "remove": lambda: (other / "there").unlink(),
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name, "allowed")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
print(",".join(fences))
os.abort()
"""


def test_a_fenced_process(tmp_path: Path) -> None:
    """It writes into the cache and reads anywhere; it has no socket, no program and no hold on others; it may abort."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    cache.mkdir()
    other.mkdir()
    (other / "there").write_text("kept")
    with subprocess.Popen(["sleep", "90"]) as victim:  # without a fence each try does what it can to it
        told = [str(cache), str(other), str(victim.pid)]
        done = subprocess.run(
            [sys.executable, "-c", _TRY, *told], capture_output=True, text=True, check=False, timeout=60
        )
        victim.kill()
    assert done.returncode == -6, done.stderr
    *tries, last = done.stdout.splitlines()
    fences = last.split(",")
    assert fences[:2] == ["idle priority", "resource limits"]
    if "seccomp" not in fences or "landlock" not in fences:
        pytest.skip(f"this kernel has only {fences}")
    assert tries == [
        "connect EPERM", "run EPERM", "signal EPERM", "queued signal EPERM", "signal by a pipe EPERM",
        "which signal EPERM", "signal a thread by a pipe EPERM", "signal by a socket EPERM", "group of a socket EPERM",
        "priority of others EPERM", "priority of a user EPERM", "policy of others EPERM", "parameters of others EPERM",
        "attributes of others EPERM", "disk of others EPERM", "own priority allowed", "limits of others EPERM",
        "own limits allowed", "write EACCES", "change EACCES", "remove EACCES",
    ]  # fmt: skip
    assert (other / "there").read_text() == "kept"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filters_jumps_stay_inside(machine: str) -> None:
    """Every comparison leads to a line of the program; the last two allow and refuse."""
    lines = sandbox._program(machine)
    count = len(lines) // 8
    for at in range(count):
        code, yes, no = lines[at * 8], lines[at * 8 + 2], lines[at * 8 + 3]
        if code in (0x15, 0x35):
            assert at + 1 + max(yes, no) < count
    assert lines[-16:-14] == lines[-8:-6] == b"\x06\x00"
