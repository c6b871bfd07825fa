"""A process of its own that follows another through ptrace, tells each call that changes state, and strikes at one.

python -m tests.durability.tracer PID FOLDER OUTPUT [N before|after|ERROR[:spell] NAMES]

strace can inject a SIGKILL too, but only before a call, and it counts by thread: with a pool of threads the n-th
write of a *process* cannot be named. Here all threads have one count, and the end comes before the call is made, or
after it was made and before the process learns of it; or the call is not made and gets an ERROR such as EIO, and with
`:spell` all that follow for two seconds. N counts the calls with one of NAMES (by commas; empty: all).

A call counts when it is for something below FOLDER, or is a `sendmsg`: what the process tells its parent. OUTPUT gets
a line of JSON for each, in order: number, call, path. It ends when the process has ended, or by SIGTERM.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Final, TextIO

_SEIZE, _INTERRUPT, _LISTEN, _SYSCALL, _GET_INFO = 0x4206, 0x4207, 0x4208, 24, 0x420E
_TRACE_GOOD, _TRACE_CLONE = 1, 8
_POKE_USER, _RESULT, _NUMBER = 6, 80, 120
"""Places in the registers of a stopped x86-64 thread: RAX, and ORIG_RAX, where -1 keeps the call from being made."""
_WALL: Final = 0x40000000
_EVENT_STOP: Final = 128
_INFO: Final = struct.Struct("=B3xIQQ7Q")  # op, arch, ip, sp; nr and six arguments at an entry
_ENTRY, _EXIT = 1, 2
_AT_FDCWD: Final = -100
_SPELL: Final = 2.0
_O_CREAT: Final = os.O_CREAT

# How to find the path: F: argument 0 is a descriptor; P: argument 0 is a path; A: arguments 0 and 1 are a folder's
# descriptor and a path; O: as A, counted when it may create; S: argument 0 is a socket.
_NUMBERS: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "x86_64": {
        1: ("write", "F"),
        18: ("pwrite64", "F"),
        20: ("writev", "F"),
        46: ("sendmsg", "S"),
        74: ("fsync", "F"),
        75: ("fdatasync", "F"),
        76: ("truncate", "P"),
        77: ("ftruncate", "F"),
        82: ("rename", "P"),
        83: ("mkdir", "P"),
        84: ("rmdir", "P"),
        86: ("link", "P"),
        87: ("unlink", "P"),
        88: ("symlink", "P"),
        90: ("chmod", "P"),
        91: ("fchmod", "F"),
        257: ("openat", "O"),
        258: ("mkdirat", "A"),
        263: ("unlinkat", "A"),
        264: ("renameat", "A"),
        265: ("linkat", "A"),
        268: ("fchmodat", "A"),
        285: ("fallocate", "F"),
        316: ("renameat2", "A"),
    },
    "aarch64": {
        34: ("mkdirat", "A"),
        35: ("unlinkat", "A"),
        37: ("linkat", "A"),
        38: ("renameat", "A"),
        45: ("truncate", "P"),
        46: ("ftruncate", "F"),
        47: ("fallocate", "F"),
        52: ("fchmod", "F"),
        53: ("fchmodat", "A"),
        56: ("openat", "O"),
        64: ("write", "F"),
        66: ("writev", "F"),
        68: ("pwrite64", "F"),
        82: ("fsync", "F"),
        83: ("fdatasync", "F"),
        211: ("sendmsg", "S"),
        276: ("renameat2", "A"),
    },
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> int:
    """The system call; -1 for a thread that is gone meanwhile.

    Raises:
        PermissionError: this machine lets nobody trace.
    """
    result = int(_libc.ptrace(request, tid, address, data))
    if result < 0 and ctypes.get_errno() == 1:
        raise PermissionError("ptrace is not permitted here")
    return result


@dataclass(slots=True)
class Tracer:
    """Follows one process and all its threads.

    Attributes:
        at: number of the call at which it is killed, 0 for none; `after`: when the call was made.
        error: what the call gets instead of being made, 0 for none; `spell`: so do all that follow, `until` it is over.
        names: calls that `at` counts, all when empty.
    """

    pid: int
    folder: str
    output: TextIO
    at: int = 0
    after: bool = False
    error: int = 0
    spell: bool = False
    until: float = float("inf")
    names: frozenset[str] = frozenset()
    told: int = 0
    count: int = 0
    inside: dict[int, int] = field(default_factory=dict)
    buffer: ctypes.Array[ctypes.c_char] = field(default_factory=lambda: ctypes.create_string_buffer(_INFO.size))

    def attach(self) -> None:
        """Follow all threads that there are; those that come are followed by themselves."""
        known: set[int] = set()
        while new := {int(name) for name in os.listdir(f"/proc/{self.pid}/task")} - known:
            for tid in new:
                if ptrace(_SEIZE, tid, 0, _TRACE_GOOD | _TRACE_CLONE) == 0:
                    ptrace(_INTERRUPT, tid)
            known |= new

    def run(self) -> None:
        """Until the process has ended."""
        while True:
            try:
                tid, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return
            if os.WIFSTOPPED(status):
                self._stopped(tid, os.WSTOPSIG(status), status >> 16)

    def _stopped(self, tid: int, number: int, event: int) -> None:
        deliver = 0
        if number == signal.SIGTRAP | 0x80:
            self._on_call(tid)
        elif event == _EVENT_STOP and number != signal.SIGTRAP:
            ptrace(_LISTEN, tid)
            return
        elif not event:
            deliver = number
        ptrace(_SYSCALL, tid, 0, deliver)

    def _on_call(self, tid: int) -> None:
        size = ptrace(_GET_INFO, tid, _INFO.size, ctypes.addressof(self.buffer))
        if size <= 0:
            return
        op, _, _, _, call, *arguments = _INFO.unpack(self.buffer.raw)
        if op == _ENTRY:
            known = _NUMBERS[platform.machine()].get(call)
            path = known and self._concerns(known[1], arguments)
            if known and path:
                self._entered(tid, known[0], path)
        elif op == _EXIT:
            self._left(tid, self.inside.pop(tid, -1))

    def _left(self, tid: int, number: int) -> None:
        if self.error and self._strikes(number):
            ptrace(_POKE_USER, tid, _RESULT, _unsigned(-self.error))
        elif self.after and number == self.at:
            os.kill(self.pid, signal.SIGKILL)

    def _strikes(self, number: int) -> bool:
        if number == self.at and self.spell:
            self.until = min(self.until, time.monotonic() + _SPELL)
        return number == self.at or (self.spell and number > self.at and time.monotonic() < self.until)

    def _entered(self, tid: int, name: str, path: str) -> None:
        self.told += 1
        self.output.write(json.dumps([self.told, name, path.removeprefix(self.folder + "/")]) + "\n")
        self.output.flush()
        if self.names and name not in self.names:
            return
        self.count += 1
        self.inside[tid] = self.count
        if self.error and self._strikes(self.count):
            ptrace(_POKE_USER, tid, _NUMBER, _unsigned(-1))
        elif not self.error and self.count == self.at and not self.after:
            os.kill(self.pid, signal.SIGKILL)

    def _concerns(self, how: str, arguments: list[int]) -> str:
        """The path a call is for, empty when it does not count."""
        try:
            if how == "S":
                return "parent"
            if how == "F":
                path = os.readlink(f"/proc/{self.pid}/fd/{_signed(arguments[0])}")
            elif how == "P":
                path = self._text(arguments[0])
            elif how == "O" and not arguments[2] & _O_CREAT:
                return ""
            else:
                path = self._at(_signed(arguments[0]), self._text(arguments[1]))
        except OSError:
            return ""
        return path if path.startswith(self.folder) else ""

    def _at(self, folder: int, path: str) -> str:
        if path.startswith("/") or folder == _AT_FDCWD:
            return path
        return os.path.join(os.readlink(f"/proc/{self.pid}/fd/{folder}"), path)

    def _text(self, address: int) -> str:
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(4096).split(b"\0", 1)[0].decode(errors="replace")


def _unsigned(value: int) -> int:
    return value & 0xFFFF_FFFF_FFFF_FFFF


def _signed(value: int) -> int:
    return ctypes.c_int(value & 0xFFFFFFFF).value


def main() -> None:
    """Attach, say so by a first line, follow."""
    pid, folder, output, *kill = sys.argv[1:]
    with open(output, "w") as file:
        tracer = Tracer(int(pid), folder, file)
        if kill:
            tracer.at, tracer.after = int(kill[0]), kill[1] == "after"
            what, _, spell = kill[1].partition(":")
            tracer.error, tracer.spell = getattr(errno, what, 0), bool(spell)
            if tracer.error and platform.machine() != "x86_64":
                sys.exit("errors are injected on x86-64 only")
            tracer.names = frozenset(kill[2].split(",")) - {""}
        tracer.attach()
        file.write('"attached"\n')
        file.flush()
        tracer.run()


if __name__ == "__main__":
    main()
