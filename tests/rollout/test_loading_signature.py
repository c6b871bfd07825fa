"""Signatures that a hostile worker tells: none reaches a routing table."""

from __future__ import annotations

import asyncio

import pytest

from changeover.errors import ModelRejected
from changeover.rollout.loading import Loader
from changeover.transport.control import Signature, TensorEntry
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, ScriptedJournal, Stage


@pytest.mark.parametrize(
    "told",
    [
        Signature([TensorEntry("x", "X", [-1])], [], True),
        Signature([TensorEntry("x", "FP32", [-1])], [TensorEntry("y", "fp32", [-1])], True),
        Signature([TensorEntry("x", "FP32", [-1, -2])], [], True),
        Signature([TensorEntry("x", "FP32", [-1] * 17)], [], True),
        Signature([TensorEntry("x", "FP32", [-1])] * 2, [], True),
        Signature([], [TensorEntry("y", "FP32", [-1])], True),
        Signature([TensorEntry("x", "FP32", [])], [], True),
        Signature([TensorEntry("x", "FP32", [-1]), TensorEntry("z", "FP32", [1])], [], True),
    ],
)
@pytest.mark.parametrize("with_active", [False, True])
def test_a_signature_that_no_model_has_is_refused(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, told: Signature, with_active: bool
) -> None:
    """Whether there is a version to compare it with or not: no gateway may hear of it."""

    async def scenario() -> None:
        loader = Loader(MODEL, fleet, journal, stage.settings)
        offers = [stage.offer(version) for version in (1, 2)]
        fleet.signatures["2"] = told
        active = await loader.load(1, offers[0].artifact, offers[0].plan) if with_active else None
        if active is not None:
            await loader.ready(active, None)
        loading = await loader.load(2, offers[1].artifact, offers[1].plan)
        with pytest.raises(ModelRejected) as caught:
            await loader.ready(loading, active)
        assert caught.value.reason == "signature_unsound"
        assert list(fleet.alive) == ([active.number] if active else [])

    asyncio.run(scenario())
