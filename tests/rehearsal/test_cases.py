"""The candidates of a rehearsal, and when their faults begin."""

from __future__ import annotations

import msgspec
import pytest

from changeover.rehearsal.cases import KINDS, Case, default_cases, moment_reached, read_case, repeated
from changeover.transport.control import Fault


def test_one_of_every_kind_and_a_healthy_one() -> None:
    """No kind of fault is left out, and the healthy candidate comes first."""
    cases = default_cases()
    assert [case.kind for case in cases] == ["healthy", *KINDS]
    assert [case.bad for case in cases] == [False, *[True] * len(KINDS)]


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("healthy", Case("healthy")),
        ("slow", Case("slow", "canary")),
        (" labels ", Case("labels", "shadow")),
        ("labels@load", Case("labels", "load")),
        ("error@watching", Case("error", "watching")),
    ],
)
def test_a_case_by_its_name(text: str, case: Case) -> None:
    """A kind, and a moment where it is not the usual one."""
    assert read_case(text) == case
    assert read_case(case.name) == case


@pytest.mark.parametrize("text", ["", "sulk", "slow@never", "slow@", "healthy@load"])
def test_what_is_no_case(text: str) -> None:
    """Is refused, and the words that are known are told."""
    with pytest.raises(ValueError, match=r"kinds are|moments are"):
        read_case(text)


@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_those_a_server_takes(kind: str) -> None:
    """What is written into the file of `--faults` is read back as a fault of this kind that the file arms."""
    (entry,) = Case(kind).faults("/armed", 80 << 20)
    fault = msgspec.convert(entry, Fault)
    assert (fault.kind, fault.when, fault.after) == (kind, "/armed", 0)
    assert fault.bytes == 2 << 20


def test_a_healthy_candidate_has_none() -> None:
    """It is an A/A rollout."""
    assert Case("healthy").faults("/armed", 1) == []


@pytest.mark.parametrize(
    ("moment", "reached"),
    [("load", 6), ("shadow", 4), ("canary", 3), ("watching", 1)],
)
def test_moments_come_in_order(moment: str, reached: int) -> None:
    """A fault begins with the first phase that has what it waits for, and in all later ones: a step may be left out."""
    phases = ("pending", "validating", "shadowing", "progressing", "promoting", "watching")
    found = [moment_reached(moment, {"phase": phase}) for phase in phases]
    assert found == [False] * (6 - reached) + [True] * reached


def test_runs_take_turns() -> None:
    """So that a rehearsal that is ended early has seen all kinds."""
    assert [case.kind for case in repeated([Case("slow"), Case("nan")], 2)] == ["slow", "nan", "slow", "nan"]
