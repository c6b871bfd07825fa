"""`changeover doctor`: can this machine run a server, and how well?"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from changeover.cli.exits import Exit
from changeover.cli.options import Output
from changeover.cli.output import Format, show, size, table

Result = Literal["ok", "warn", "fail"]

_LEAST_ONNXRUNTIME = (1, 31, 1)
_FEW_FILES, _ENOUGH_FILES = 256, 4096
_LITTLE_MEMORY = 512 << 20
_PROBE = """
import os
import onnxruntime
print(len(os.listdir("/proc/self/task")))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its result and a sentence that says what was found and, if need be, what to do."""

    check: str
    result: Result
    detail: str


def doctor(
    http_port: Annotated[int, typer.Option(metavar="PORT", help="Port that inference would use.")] = 8000,
    grpc_port: Annotated[int, typer.Option(metavar="PORT", help="Port that gRPC would use.")] = 8001,
    control_port: Annotated[int, typer.Option(metavar="PORT", help="Port that control would use.")] = 8002,
    output: Output = Format.TABLE,
) -> int:
    """Check this machine; exit 2 if a server could not run here.

    For example:

        changeover doctor

        changeover doctor --http-port 9000 -o json
    """
    checks: list[Callable[[], Finding]] = [python, onnxruntime, telemetry, seals, quiet_loading, memory, open_files]
    findings = [check() for check in checks]
    findings += [port("http port", http_port), port("grpc port", grpc_port), port("control port", control_port)]
    document = {"checks": [asdict(finding) for finding in findings]}
    show(document, output, lambda: _table(findings))
    return Exit.FAILED if any(finding.result == "fail" for finding in findings) else Exit.DONE


def python() -> Finding:
    """Check interpreter and platform."""
    version, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    if platform.system() != "Linux" or sys.version_info < (3, 11):
        return Finding("python", "fail", f"Python {version} on {system}: Linux and Python 3.11 or newer are needed")
    return Finding("python", "ok", f"Python {version} on {system}")


def onnxruntime() -> Finding:
    """Check the version of ONNX Runtime, without importing it."""
    try:
        version = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        return Finding("onnxruntime", "fail", "not installed: pip install onnxruntime")
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if numbers < _LEAST_ONNXRUNTIME:
        return Finding("onnxruntime", "fail", f"version {version} is too old: pip install 'onnxruntime>=1.31.1'")
    return Finding("onnxruntime", "ok", f"version {version}")


def telemetry() -> Finding:
    """Import ONNX Runtime in a process of its own, as workers do, and count the threads it started."""
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], env=environment, capture_output=True, timeout=60, check=True, text=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        return Finding("telemetry", "fail", f"onnxruntime cannot be imported: {error}")
    threads = int(probe.stdout)
    if threads != 1:
        return Finding(
            "telemetry", "fail", f"{threads} threads after import although telemetry is off: forking is unsafe"
        )
    return Finding("telemetry", "ok", "off, one thread after import")


def seals() -> Finding:
    """Check that shared memory can be sealed, so that no process can pull it away from another."""
    try:
        fd = os.memfd_create("changeover-doctor", os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, 4096)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        finally:
            os.close(fd)
    except OSError as error:
        return Finding("sealed memory", "fail", f"memfd seals do not work here: {error}")
    return Finding("sealed memory", "ok", "memfd seals work")


def quiet_loading() -> Finding:
    """Say how a loading would be kept from the live traffic."""
    from changeover.runtime.quiet import Quiet, method

    how = method()
    if how in (Quiet.NICENESS, Quiet.AUTOGROUP):
        return Finding("quiet loading", "ok", f"by {how}")
    advice = "grant CAP_SYS_NICE or LimitNICE for the strongest form"
    return Finding("quiet loading", "warn", f"by {how}: weaker, and only for single-threaded loads; {advice}")


def memory() -> Finding:
    """Check that shared memory may be made, and that there is some left."""
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest != resource.RLIM_INFINITY and largest < _LITTLE_MEMORY:
        return Finding("memory", "fail", f"files may have {size(largest)} only, shared memory too: raise `ulimit -f`")
    free = available_memory()
    if free < _LITTLE_MEMORY:
        return Finding("memory", "warn", f"{size(free)} left: two versions of a model must fit side by side")
    return Finding("memory", "ok", f"{size(free)} left")


def available_memory() -> int:
    """Return the bytes left on the machine or in the control group, whichever are fewer."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return found[0]
    return found[0] if limit == "max" else min(found[0], int(limit) - used)


def open_files() -> Finding:
    """Check the limit of open files: one for each client connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft:,} (hard limit {hard:,})"
    if soft < _FEW_FILES:
        return Finding("open files", "fail", f"{text}: raise `ulimit -n` to {_ENOUGH_FILES} or more")
    if soft < _ENOUGH_FILES:
        return Finding(
            "open files", "warn", f"{text}: each client needs one, raise `ulimit -n` to {_ENOUGH_FILES} or more"
        )
    return Finding("open files", "ok", text)


def port(name: str, number: int) -> Finding:
    """Check that a port of the loopback address is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            return Finding(
                name, "warn", f"{number} cannot be used ({why}): choose another with --{name.replace(' ', '-')}"
            )
    return Finding(name, "ok", f"{number} is free")


def _table(findings: list[Finding]) -> RenderableType:
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    made = table("check", "result", "detail")
    for finding in findings:
        made.add_row(finding.check, Text(finding.result, colours[finding.result]), finding.detail)
    return made
