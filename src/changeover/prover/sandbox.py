"""What a prover may not do, because the files it opens are hostile until proven otherwise.

It takes only what is idle of the processor, is the first to go when memory runs out, leaves no core dump, and can
gain no privilege. It can open no connection, start no program, signal, trace or re-prioritise no other process
(seccomp), and write nowhere but into the cache of optimised graphs (Landlock). The last two are as far as the kernel
has them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from pathlib import Path
from typing import Final

from changeover.runtime import quiet

_MOST_FILES: Final = 256
_MOST_WRITTEN: Final = 64 << 30
_NO_NEW_PRIVILEGES: Final = 38
_SECCOMP: Final = 22
_FILTER_MODE: Final = 2

_DENIED: Final = {
    "x86_64": (41, 42, 43, 49, 50, 53, 57, 58, 59, 62, 101, 129, 155, 161, 165, 166, 169, 175, 200, 240, 246, 250, 272,
               288, 297, 298, 304, 308, 310, 311, 313, 320, 321, 322, 323, 424, 425, 426, 427, 434, 438),
    "aarch64": (198, 199, 200, 201, 202, 203, 242, 221, 281, 129, 130, 117, 138, 240, 270, 271, 40, 39, 41, 51, 97,
                104, 105, 142, 180, 217, 218, 219, 241, 265, 268, 273, 280, 282, 294, 424, 425, 426, 427, 434, 438),
}  # fmt: skip
"""Calls that fail: sockets, new programs and processes, signals to others, tracing, mounts, modules, keys, io_uring."""
_OWN_ONLY: Final = {"x86_64": (234, 302, 142, 144, 314), "aarch64": (131, 261, 118, 119, 274)}
"""`tgkill`, which `abort` needs, `prlimit64`, and `sched_setparam`, `_setscheduler` and `_setattr`: for this process
alone, whose number is its own or 0. `sched_setaffinity` is free: ONNX Runtime places its threads by their numbers,
which a filter cannot tell from those of others."""
_OWN_PRIORITY: Final = {"x86_64": ((141, 0), (251, 1)), "aarch64": ((140, 0), (30, 1))}
"""`setpriority` and `ioprio_set`, with their word for a process: for this one, never for a group or a user."""
_OWNER: Final = {
    "x86_64": {72: (8, 10, 15), 16: (0x8901, 0x8902)},
    "aarch64": {25: (8, 10, 15), 29: (0x8901, 0x8902)},
}  # fmt: skip
"""`fcntl` and `ioctl`, with the commands that say which process is signalled of a descriptor, and by what: refused."""
_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32: Final = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_FIRST, _SECOND = 16, 24
"""Where a call's arguments lie."""
_Line = tuple[int, int | str, int | str, int]
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # with EPERM
_KILL: Final = 0x80000000

_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_WRITES: Final = {1: 0x1FF2, 2: 0x3FF2, 3: 0x7FF2}
"""Landlock's rights to write, remove, make, refer and truncate, by its version; those after 3 brought no such."""
_PATH_BENEATH: Final = 1


def enter(cache: Path, *, cpu_only: bool = True) -> list[str]:
    """Give up all that a prover does not need; what could be given up, by name.

    Args:
        cache: the only folder that may be written to.
        cpu_only: a GPU's driver writes to devices and opens sockets, so the kernel's fences are left away for it.
    """
    quiet.stay_low()
    Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_NOFILE, _MOST_FILES), (resource.RLIMIT_FSIZE, _MOST_WRITTEN)):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    fences = ["idle priority", "resource limits"]
    if _prctl(_NO_NEW_PRIVILEGES, 1) == 0:
        fences.append("no new privileges")
        if not cpu_only:
            return fences
        fences += ["landlock"] * _landlock(cache) + ["seccomp"] * _seccomp()
    return fences


def _landlock(folder: Path) -> bool:
    """From now on files are made, changed and removed below this folder only."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = int(call(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return False
    rights = _WRITES[min(version, max(_WRITES))]
    ruleset = call(_CREATE_RULESET, struct.pack("Q", rights), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, beneath)
        added = int(call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)) == 0
        return added and int(call(_RESTRICT, ruleset, 0)) == 0
    finally:
        os.close(beneath)
        os.close(ruleset)


def _seccomp() -> bool:
    """From now on the calls that a prover has no use for fail with EPERM."""
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    program = _program(machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    return _prctl(_SECCOMP, _FILTER_MODE, ctypes.c_char_p(header)) == 0


def _program(machine: str) -> bytes:
    """The filter: one comparison a denied call; a call of another architecture ends the process."""
    code: list[_Line] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    code += _with_arguments(machine)
    code += [(_EQUAL, "refuse", 0, number) for number in _DENIED[machine]]
    places = {"allow": len(code), "refuse": len(code) + 1}
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]

    def jump(at: int, to: int | str) -> int:
        return to if isinstance(to, int) else places[to] - at - 1

    lines = [(kind, jump(at, yes), jump(at, no), value) for at, (kind, yes, no, value) in enumerate(code)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _with_arguments(machine: str) -> list[_Line]:
    """Of calls that are allowed or refused by their arguments."""
    code: list[_Line] = []
    own: list[_Line] = [(_EQUAL, "allow", 0, 0), (_EQUAL, "allow", "refuse", os.getpid())]
    for number in _OWN_ONLY[machine]:
        code += [(_EQUAL, 0, 3, number), (_LOAD, 0, 0, _FIRST), *own]
    for number, process in _OWN_PRIORITY[machine]:
        code += [(_EQUAL, 0, 5, number), (_LOAD, 0, 0, _FIRST), (_EQUAL, 0, "refuse", process)]
        code += [(_LOAD, 0, 0, _SECOND), *own]
    for number, commands in _OWNER[machine].items():
        code += [(_EQUAL, 0, len(commands) + 2, number), (_LOAD, 0, 0, _SECOND)]
        code += [*((_EQUAL, "refuse", 0, command) for command in commands), (_RETURN, 0, 0, _ALLOW)]
    return code


def _prctl(option: int, *values: object) -> int:
    numbers = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in values]
    arguments = [*numbers, *[ctypes.c_ulong(0)] * (4 - len(values))]
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *arguments))
