"""The autogroup's niceness is taken once in 100 ms by the kernel, and a small model loads in less."""

from __future__ import annotations

import os

import pytest

from changeover.runtime import quiet
from changeover.runtime.quiet import Quiet


class Busy:
    """`/proc/self/autogroup` as an unprivileged process finds it: each change refuses the next few."""

    def __init__(self, refusals: int) -> None:
        self.written: list[str] = []
        self._refusals = self._left = refusals

    def write_text(self, text: str) -> None:
        """Take a change, or refuse it as the kernel does."""
        if self._left:
            self._left -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self._left = self._refusals
        self.written.append(text)


def test_a_refused_change_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load goes through, and the process is at its normal priority afterwards."""
    busy = Busy(3)
    monkeypatch.setattr(quiet, "_AUTOGROUP", busy)
    assert quiet.run_quietly(lambda: 42, Quiet.AUTOGROUP) == 42
    assert busy.written == ["19", "0"]


def test_a_kernel_that_never_takes_it_costs_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience the load is kept to one core instead, and has all of them again afterwards."""
    busy = Busy(10**9)
    monkeypatch.setattr(quiet, "_AUTOGROUP", busy)
    monkeypatch.setattr(quiet, "_AUTOGROUP_PATIENCE", 0.02)
    before = os.sched_getaffinity(0)
    assert len(quiet.run_quietly(lambda: os.sched_getaffinity(0), Quiet.AUTOGROUP)) == 1
    assert os.sched_getaffinity(0) == before
    assert busy.written == []


def test_the_way_back_is_asked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has said that it is ready by then: it is late, but it serves."""
    busy = Busy(0)
    monkeypatch.setattr(quiet, "_AUTOGROUP", busy)
    monkeypatch.setattr(quiet, "_AUTOGROUP_PATIENCE", 0.0)
    assert quiet.run_quietly(lambda: setattr(busy, "_left", 10), Quiet.AUTOGROUP) is None
    assert busy.written == ["19", "0"]


def test_without_privilege_the_autogroup_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it works."""
    monkeypatch.setattr(quiet, "_may_renice", lambda: False)
    monkeypatch.setattr(quiet, "_autogroup_works", lambda: True)
    assert quiet.method(1) is Quiet.AUTOGROUP
