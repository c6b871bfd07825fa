"""The zygote: numpy and onnxruntime imported, one thread; workers and provers are forked from it in milliseconds.

A double fork hands the child to the supervisor (the subreaper), so the zygote may die without its children.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

from setproctitle import setproctitle

from changeover.prover import process as prover
from changeover.runtime import quiet
from changeover.transport.child import arguments, introduce
from changeover.transport.link import Kind, Link, LinkClosed, frame
from changeover.worker import process as worker

_MAINS: Final[dict[str, Callable[[int, int], None]]] = {"worker": worker.main, "prover": prover.main}
"""What a child does with its link and its parent's pid, by its role."""


def main() -> None:
    """Fork as the supervisor asks, until it dies."""
    fd, parent = arguments()
    link, _ = introduce(fd, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle("changeover: zygote")
    worker.preload()
    prover.preload()
    if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:
        sys.exit("zygote: a library started a thread at import, forking would break; is ORT_DISABLE_TELEMETRY unset?")
    gc.collect()
    gc.freeze()  # what is shared now stays shared: the collector touches none of it in the children
    link.send(frame(Kind.READY))
    ready = select.poll()
    ready.register(link.fileno(), select.POLLIN)
    while True:
        ready.poll()
        message = link.receive()
        if message is not None and message.kind is Kind.FORK:
            body = message.json()
            pid = _fork(link, message.fds[0], parent, body)
            os.close(message.fds[0])
            link.send(frame(Kind.FORKED, {"member": body["member"], "pid": pid}))


def _fork(link: Link, fd: int, supervisor: int, wanted: Mapping[str, Any]) -> int:
    """Fork a worker or prover on the link `fd`; returns its pid. The process between exits at once.

    Raises:
        OSError, SystemExit: the machine has no room for another process; the next zygote finds out anew.
    """
    life = _MAINS[wanted["role"]]
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        child = os.fork()
        if child == 0:
            if wanted["quiet"]:
                quiet.begin_low()
            os.close(reader)
            os.close(writer)
            link.sock.close()
            quiet.stand_apart(for_good=wanted["role"] != "worker")
            _live(life, fd, supervisor)
        os.write(writer, child.to_bytes(8, "little"))
        os._exit(0)
    os.close(writer)
    os.waitpid(between, 0)
    pid = int.from_bytes(os.read(reader, 8), "little")
    os.close(reader)
    if not pid:
        sys.exit("zygote: a child could not be forked")
    return pid


def _live(life: Callable[[int, int], None], fd: int, supervisor: int) -> None:
    """The child's whole life; never returns, so no destructor of the zygote's runs in a child."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        life(fd, supervisor)
        code = 0
    except (LinkClosed, SystemExit):
        pass
    except BaseException:  # noqa: BLE001 - the last place that can tell what happened
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except LinkClosed:
        sys.exit(0)
