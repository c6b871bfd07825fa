"""A prover's short life: fence itself in, prove one candidate, say what came of it, end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
from setproctitle import setproctitle

from changeover.prover import sandbox
from changeover.prover.proving import Proving
from changeover.transport.child import introduce
from changeover.transport.control import encode
from changeover.transport.link import Frame, Kind
from changeover.transport.proving import ProverSpec, ProverStatus


def preload() -> None:
    """What the zygote does once for all its provers: the first touch of lazy parts."""
    import numpy.random  # noqa: F401 - numpy does so at its first use, which takes 9 ms
    import onnx.numpy_helper  # noqa: F401


def main(fd: int, parent: int) -> None:
    """Prove one loading."""
    link, welcome = introduce(fd, parent)
    spec = msgspec.convert(welcome.json()["spec"], ProverSpec)
    setproctitle(f"changeover: prover {spec.worker.model}/{spec.worker.version}")
    os.chdir(spec.worker.empty)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a terminal's signal is the supervisor's to hear
    cpu_only = set(spec.worker.providers) == {"CPUExecutionProvider"}
    fences = sandbox.enter(Path(spec.worker.cache), cpu_only=cpu_only)

    def report(status: ProverStatus) -> None:
        link.send(Frame(Kind.PROVED, encode(status)))

    Proving(spec, report, fences, *welcome.fds).run()
