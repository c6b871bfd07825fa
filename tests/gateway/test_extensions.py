"""Triton's extensions on the HTTP port of one gateway."""

from __future__ import annotations

import asyncio

from tests.gateway.extended import ask
from tests.gateway.stage import entry, stage


def test_statistics_list_versions_by_number() -> None:
    """All that serve, or the one named; of all models where none is named."""

    async def scenario() -> None:
        async with stage() as here:
            assert ask(here, "GET", "/v2/models/stats").json() == {"model_stats": []}
            here.serve(1, entry(7, "10"), entry(8, "9"))
            for path in ("/v2/models/stats", "/v2/models/m/stats"):
                told = ask(here, "GET", path).json()["model_stats"]
                assert [(s["name"], s["version"]) for s in told] == [("m", "9"), ("m", "10")]
            (told,) = ask(here, "GET", "/v2/models/m/versions/9/stats").json()["model_stats"]
            assert told["version"] == "9"
            assert ask(here, "GET", "/v2/models/m/versions/11/stats").status == 404
            assert ask(here, "GET", "/v2/models/n/stats").json()["reason"] == "model_not_found"

    asyncio.run(scenario())


def test_the_configuration_is_the_active_versions_or_the_one_named() -> None:
    """By the batch that each takes."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"), entry(8, "2", max_batch=64))
            assert ask(here, "GET", "/v2/models/m/config").json()["max_batch_size"] == 8
            assert ask(here, "GET", "/v2/models/m/versions/2/config").json()["max_batch_size"] == 64
            assert ask(here, "GET", "/v2/models/m/versions/3/config").json()["reason"] == "version_not_found"

    asyncio.run(scenario())


def test_the_server_lists_its_extensions() -> None:
    """By Triton's names."""

    async def scenario() -> None:
        async with stage() as here:
            extensions = ask(here, "GET", "/v2").json()["extensions"]
            assert {"classification", "model_configuration", "statistics"} <= set(extensions)
            assert extensions == sorted(extensions)

    asyncio.run(scenario())
