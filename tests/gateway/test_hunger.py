"""Hunger of real processes: one that waits for a core, one that computes, one that sleeps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from changeover.gateway import hunger
from changeover.gateway.hunger import Hunger
from changeover.testing import wait_for

SPINS = "print(flush=True)\nwhile True: pass"
SLEEPS = "import time; print(flush=True); time.sleep(60)"


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """That runs the code of the test's parameter."""
    with subprocess.Popen([sys.executable, "-c", request.param], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("child", [SPINS], indirect=True)
def test_who_wants_a_core_and_has_none_is_hungry(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it used stands still while it wants one; with the next silence the count begins anew."""
    monkeypatch.setattr(hunger, "_used", lambda pid: {pid: 1.0})
    hungry = Hunger(child.pid)
    assert hungry.look(5.0, 6.0) == 0.0
    assert hungry.look(5.0, 7.5) == pytest.approx(1.5)
    assert hungry.look(5.0, 7.5 + hunger._PAUSE / 2) == pytest.approx(1.5)  # so soon nobody looks again
    assert hungry.look(5.0, 9.0) == pytest.approx(3.0)
    assert hungry.look(8.0, 9.5) == 0.0


@pytest.mark.parametrize("child", [SPINS], indirect=True)
def test_who_computes_is_not_hungry(child: subprocess.Popen[bytes]) -> None:
    """Half a second of a core in half a second: a run without end is a hang on any machine."""
    hungry = Hunger(child.pid)
    began = used = hunger._used(child.pid)[child.pid]
    hungry.look(1.0, 100.0)

    def computed() -> bool:
        nonlocal used
        used = hunger._used(child.pid)[child.pid]
        return used - began > 0.5

    wait_for(computed, "half a second of a core")
    assert hungry.look(1.0, 100.0 + used - began) < 0.1


@pytest.mark.parametrize("child", [SLEEPS], indirect=True)
def test_who_sleeps_is_not_hungry(child: subprocess.Popen[bytes]) -> None:
    """It waits for a lock, a device or for ever, and no core would help it."""
    wait_for(lambda: not hunger._wants(child.pid), "its sleep")
    hungry = Hunger(child.pid)
    assert [hungry.look(1.0, 10.0 + second) for second in range(3)] == [0.0, 0.0, 0.0]


def test_who_is_not_known_or_gone_is_not_hungry() -> None:
    """And nobody else's hunger is taken for theirs."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for hungry in (Hunger(0), Hunger(child.pid)):
        assert [hungry.look(1.0, 10.0 + second) for second in range(3)] == [0.0, 0.0, 0.0]
    assert os.getpid() in hunger._used(os.getpid())
