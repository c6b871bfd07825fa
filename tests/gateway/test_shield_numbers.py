"""Answers that are no finite numbers, and the shield."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from changeover.gateway.shield import finite
from changeover.tensors import Datatype, Tensor
from tests.gateway.stage import entry, question, stage
from tests.gateway.test_shield import counts, nothing_is_held, shielded, tally


@pytest.mark.parametrize("wanted", [True, False])
def test_nan_is_a_failure_where_the_table_says_so(wanted: bool) -> None:
    """Else it is an answer like any other."""

    async def scenario() -> None:
        async with shielded(finite=wanted) as (here, _, new):
            request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
            await new.serve_one(float("nan"))
            await here.answered(request)
            values = np.frombuffer(request.answer[-16:], np.float32)
            assert np.isfinite(values).all() == wanted
            assert counts(here) == ((1, 1, 1) if wanted else (1, 0, 0))
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_nan_that_comes_after_the_way_back_is_not_seen_either() -> None:
    """The table that chose says what is a failure, not the one that is in force when the answer comes."""

    async def scenario() -> None:
        async with shielded(finite=True) as (here, _, new):
            request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
            header, (part,) = await new.take()
            here.serve(2, entry(7, "1"), entry(8, "2"), candidate=8)
            assert here.models.by_name["m"].refresh().epoch == 2
            new.give(header, new.rows(header, part) * float("nan"))
            await here.answered(request)
            assert np.isfinite(np.frombuffer(request.answer[-16:], np.float32)).all()
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_nan_in_both_versions_is_no_fault_of_the_candidate() -> None:
    """The input asks for it: the client gets it, from the active version."""

    async def scenario() -> None:
        async with stage() as here:
            old, new = here.serve(1, entry(7, "1"), entry(8, "2"), weight=10_000, candidate=8, shield=True, finite=True)
            binary = [{"name": "y", "parameters": {"binary_data": True}}]
            request = here.ask(question(outputs=binary))
            await new.serve_one(float("inf"))
            await old.serve_one(float("inf"))
            await here.answered(request)
            assert (request.status, counts(here)) == (200, (1, 0, 0))
            await nothing_is_held(here)

    asyncio.run(scenario())


@pytest.mark.parametrize(("wanted", "shield"), [(True, False), (False, False), (True, True)])
def test_without_a_shield_nan_goes_out_and_counts(wanted: bool, shield: bool) -> None:
    """In the undo window for one: of either version alike. Behind a shield the active version is not looked at."""

    async def scenario() -> None:
        async with stage() as here:
            entries = entry(7, "1"), entry(8, "2")
            old, _ = here.serve(1, *entries, weight=0, candidate=8, shield=shield, finite=wanted)
            for value in (float("nan"), 2.0):
                request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
                await old.serve_one(value)
                await here.answered(request)
                assert request.status == 200
            failed = wanted and not shield
            assert counts(here, 7) == (2, int(failed), 0)
            assert sum(tally(here, 7).latency) == 2
            assert here.models.targets[7].counter.requests == 2
            await nothing_is_held(here)

    asyncio.run(scenario())


@pytest.mark.parametrize(("datatype", "kind"), [(Datatype.FP16, np.float16), (Datatype.FP32, np.float32),
                                                (Datatype.FP64, np.float64)])  # fmt: skip
def test_only_numbers_without_nan_and_infinity_are_finite(datatype: Datatype, kind: type) -> None:
    """Of each floating datatype, BF16 by its bits; other datatypes always are."""
    for value, good in ((1.0, True), (np.nan, False), (np.inf, False), (-np.inf, False)):
        array = np.array([0.0, value], kind)
        assert finite([Tensor("y", datatype, (2,), array.tobytes())]) == good
        bits = (np.array([0.0, value], np.float32).view(np.uint32) >> 16).astype(np.uint16)
        assert finite([Tensor("y", Datatype.BF16, (2,), bits.tobytes())]) == good
    assert finite([Tensor("n", Datatype.INT64, (1,), b"\xff" * 8), Tensor("e", Datatype.FP32, (0,), b"")])
