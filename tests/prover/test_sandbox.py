"""What a fenced process can no longer do; each try in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from changeover.prover import sandbox

_TRY = """
import ctypes, errno, os, resource, socket, struct, sys
from pathlib import Path
from changeover.prover import sandbox
cache, other = Path(sys.argv[1]), Path(sys.argv[2])
parent = os.getppid()
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
    "signal": lambda: os.kill(parent, 0),
    "queued signal": lambda: called(129 if os.uname().machine == "x86_64" else 138, parent, 10, siginfo),
    "limits of others": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
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
    """It writes into the cache and reads anywhere; it opens no socket, runs and signals nobody, and may still abort."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    cache.mkdir()
    other.mkdir()
    (other / "there").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", _TRY, str(cache), str(other)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -6, done.stderr
    *tries, told = done.stdout.splitlines()
    fences = told.split(",")
    assert fences[:2] == ["idle priority", "resource limits"]
    if "seccomp" not in fences or "landlock" not in fences:
        pytest.skip(f"this kernel has only {fences}")
    assert tries == [
        "connect EPERM", "run EPERM", "signal EPERM", "queued signal EPERM", "limits of others EPERM",
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
