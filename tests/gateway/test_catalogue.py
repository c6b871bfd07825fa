"""What is told of models."""

from __future__ import annotations

import asyncio

import pytest

from changeover.errors import ModelNotReady, NotFound
from changeover.gateway.catalogue import describe, known, target_of
from tests.gateway.stage import entry, stage


def test_a_model_is_described_by_the_table_in_force() -> None:
    """All versions that serve by number, or the one that was asked for; an unknown one has a reason of its own."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 1)
            here.serve(1, entry(7, "10"), entry(8, "9"))
            told = describe(here.models, "m", None)
            assert (told["name"], told["versions"], told["platform"]) == ("m", ["9", "10"], "onnxruntime_onnx")
            assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
            assert describe(here.models, "m", "9")["versions"] == ["9"]
            assert target_of(here.models, "m", None).version == "10"
            with pytest.raises(NotFound) as unknown:
                target_of(here.models, "m", "8")
            assert unknown.value.reason == "version_not_found"
            with pytest.raises(NotFound) as nobody:
                known(here.models, "n")
            assert nobody.value.reason == "model_not_found"

    asyncio.run(scenario())


def test_nobody_is_unknown_before_the_first_load_is_over() -> None:
    """A server that starts anew knows no model yet: its clients are to come again, and are told 404 only afterwards."""

    async def scenario() -> None:
        async with stage() as here:
            with pytest.raises(ModelNotReady, match="still loading"):
                known(here.models, "m")
            here.page.store(0, 1)
            with pytest.raises(NotFound, match="unknown model 'm'"):
                known(here.models, "m")
            here.serve(1, entry(7, "1"))
            assert known(here.models, "m").name == "m"

    asyncio.run(scenario())


def test_a_model_without_a_table_is_not_ready() -> None:
    """It is known, and there is nothing to tell yet."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            here.page.store(1, 5)
            with pytest.raises(ModelNotReady):
                describe(here.models, "m", None)

    asyncio.run(scenario())
