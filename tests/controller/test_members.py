"""What one gateway said last."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from changeover.controller.members import GatewayState, WorkerState
from changeover.transport.control import Measured, WorkerStatus
from tests.controller.house import acknowledged


def test_prepared_tables_are_forgotten_when_they_are_in_force() -> None:
    """Those of later epochs and of other models are kept."""
    gateway = GatewayState(1, 1, ready=True)
    gateway.prepared = {(1, 6): None, (1, 7): None, (1, 8): None, (2, 5): None}
    gateway.acknowledge(acknowledged(7, {3: 1}), 99)
    assert sorted(gateway.prepared) == [(1, 8), (2, 5)]
    assert gateway.leases == {3: 1}
    assert (gateway.has_acknowledged(1, 7), gateway.has_acknowledged(1, 8)) == (True, False)


def test_an_error_counts_when_the_gateway_is_in_service() -> None:
    """What it said while it was joining is asked again."""
    gateway = GatewayState(1, 1)
    gateway.prepared = {(1, 7): "no channel yet", (1, 8): None}
    assert not gateway.has_prepared(1, [7, 8])
    assert gateway.has_prepared(1, [8])
    gateway.in_service()
    assert (gateway.has_prepared(1, [7]), gateway.has_prepared(1, [8])) == (False, True)
    gateway.prepared[(1, 7)] = "no channel yet"
    assert gateway.has_prepared(1, [7, 8])


def test_mapped_weights_count_for_each_worker() -> None:
    """Though they are in memory once: a gate errs on the safe side. Never more than is there, whoever says so."""
    worker = WorkerState(7, "m")
    assert worker.memory() is None
    worker.pid = os.getpid()
    told = {}
    for size in (1 << 20, 1 << 50):
        worker.status = WorkerStatus(7, "ready", measured=Measured(mapped_bytes=size, inherited_bytes=1 << 50))
        told[size] = worker.memory()
    assert told[1 << 20] == 1 << 20
    whole = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    assert 1 << 20 < (told[1 << 50] or 0) <= whole
