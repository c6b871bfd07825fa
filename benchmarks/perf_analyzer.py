"""Triton's own load generator against a server: does it work, over HTTP and gRPC, and what does it measure.

    python benchmarks/perf_analyzer.py [ENVIRONMENTS]

`perf-analyzer` 2.60 is fetched from PyPI into ENVIRONMENTS (`.venv-peers`). It wants a newer C library than Debian 12
has, so it is started by the loader of Debian trixie, whose packages `apt-get download` fetches beside it; nothing is
installed. Where either cannot be had the bench is skipped, with the reason. Figures come as JSON lines.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from changeover.demo import digits
from peers.environment import Unavailable
from rig import Server, emit, say, verdict

WHEEL = "perf-analyzer==2.60.0"
PLATFORM = "manylinux_2_38_x86_64"
PACKAGES = ("libc6", "libstdc++6", "libgcc-s1", "zlib1g", "libssl3t64", "libzstd1")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCE = f"deb [signed-by={KEYS}] http://deb.debian.org/debian trixie main\n"
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
FETCH_WITHIN = 300.0
RUN_WITHIN = 120.0
PROTOCOLS = ("http", "grpc")
CONCURRENCY = 8


def main(environments: Path) -> None:
    """Fetch what is missing, then one run for each protocol."""
    try:
        command = fetched(environments.absolute() / "perf_analyzer")
    except (Unavailable, OSError, subprocess.SubprocessError, zipfile.BadZipFile) as reason:
        say(f"perf_analyzer is skipped: {reason}")
        emit("perf_analyzer", met=True, skipped=str(reason))
        return
    with Server({digits.MODEL: digits.model_bytes("1")}) as server:
        for protocol in PROTOCOLS:
            port = server.port if protocol == "http" else server.grpc_port
            _measure(command, protocol, port, server.folder / f"{protocol}.csv")


def fetched(folder: Path) -> list[str]:
    """The command that starts it, fetched at the first time.

    Raises:
        Unavailable: it cannot be had, or does not start.
    """
    program, loader = (
        folder / "wheel/perf_analyzer/bin/perf_analyzer",
        folder / "root" / LIBRARIES / "ld-linux-x86-64.so.2",
    )
    if not program.exists():
        _fetch_program(folder)
        program.chmod(0o755)
    if not loader.exists():
        _fetch_libraries(folder)
    command = [str(loader), "--library-path", str(loader.parent), str(program)]
    _run([*command, "--version"], folder)
    return command


def _fetch_program(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    _run([*pip, "--platform", PLATFORM, "--dest", str(folder), WHEEL], folder)
    with zipfile.ZipFile(next(folder.glob("perf_analyzer-*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")


def _fetch_libraries(folder: Path) -> None:
    """By apt, with lists and cache of its own: nothing of this machine's is changed."""
    apt = folder / "apt"
    for place in ("lists/partial", "cache/archives/partial", "packages"):
        (apt / place).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(SOURCE)
    told = {
        "Dir::Etc::sourcelist": apt / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State": apt,
        "Dir::State::status": "/dev/null", "Dir::Cache": apt / "cache", "APT::Sandbox::User": "root",
    }  # fmt: skip
    options = [word for name, value in told.items() for word in ("-o", f"{name}={value}")]
    _run(["apt-get", *options, "update"], folder)
    _run(["apt-get", *options, "download", *PACKAGES], apt / "packages")
    for package in (apt / "packages").glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder / "root")], folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FETCH_WITHIN, check=False, cwd=folder, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise Unavailable(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _measure(command: list[str], protocol: str, port: int, table: Path) -> None:
    """A closed loop with random images; what it could not do is told with its own words."""
    asked = ["-m", digits.MODEL, "-i", protocol, "-u", f"127.0.0.1:{port}", "--concurrency-range", str(CONCURRENCY)]
    asked += ["--measurement-interval", "2000", "--stability-percentage", "50", "-f", str(table)]
    try:
        done = subprocess.run(
            [*command, *asked], capture_output=True, text=True, timeout=RUN_WITHIN, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        failure = "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-400:]
    except subprocess.TimeoutExpired:
        failure = f"it took over {RUN_WITHIN:g} s"
    row = {}
    if not failure:
        with table.open() as file:
            row = next(csv.DictReader(file))
    emit("perf_analyzer", met=not failure and float(row.get("Inferences/Second", 0)) > 0, protocol=protocol,
         concurrency=CONCURRENCY, inferences_per_second=round(float(row.get("Inferences/Second", 0))),
         p50_ms=_ms(row.get("p50 latency")), p99_ms=_ms(row.get("p99 latency")), failure=failure)  # fmt: skip


def _ms(microseconds: str | None) -> float | None:
    return None if not microseconds else round(float(microseconds) / 1000, 3)


if __name__ == "__main__":
    main(Path((sys.argv[1:] or [".venv-peers"])[0]))
    sys.exit(verdict())
