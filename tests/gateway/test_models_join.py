"""A gateway that starts: what it knows from the store, and what it missed meanwhile."""

from __future__ import annotations

import asyncio

from changeover.gateway.models import Models
from changeover.transport.control import Committed, RoutingTable, encode
from changeover.transport.page import RoutePage, TableRecord, TableStore
from tests.gateway.sequences.stateful import stateful
from tests.gateway.stage import WORD, Stage, entry, question, stage


def joined(here: Stage) -> tuple[Models, list[object], set[int]]:
    """A second gateway that starts now."""
    told: list[object] = []
    models = Models(RoutePage(here.page_fd), TableStore(here.store_fd), told.append)
    models.serve_with(here.pipeline)
    return models, told, models.join()


def test_a_new_gateway_joins_with_the_table_in_force_and_the_later_ones() -> None:
    """It asks for the channels of all of them, and for none of the past."""

    async def scenario() -> None:
        async with stage() as here:
            for epoch, loading in ((1, 7), (2, 8), (3, 9)):
                here.publish(epoch, entry(loading, str(epoch)))
            here.page.store(WORD, 2)
            models, _, waiting = joined(here)
            assert waiting == {8, 9}
            assert models.unopened(waiting) == {8, 9}
            assert sorted(models.by_name["m"].prepared) == [2, 3]

    asyncio.run(scenario())


def test_a_new_gateway_knows_what_drains_where_sequences_may_live() -> None:
    """Of the table in force; it holds them as older gateways do, and serves without waiting for their channels."""

    async def scenario() -> None:
        async with stage() as here:
            here.publish(1, stateful(8, "2"), draining=[stateful(7, "1"), entry(6, "0")])
            here.publish(2, stateful(9, "3"), draining=[stateful(5, "1")])
            here.page.store(WORD, 1)
            models, _, waiting = joined(here)
            assert waiting == {8, 9}
            assert sorted(models.targets) == [7, 8, 9]
            models.on_unnamed = lambda target: setattr(target, "backing", 1)
            models.on_committed(Committed(WORD, 1))
            assert sorted(models.targets) == [7, 8, 9]
            assert models.targets[7].held == 1

    asyncio.run(scenario())


def test_a_new_gateway_of_an_unloaded_model_knows_nobody() -> None:
    """Its sequences have ended with it."""

    async def scenario() -> None:
        async with stage() as here:
            nobody = RoutingTable("m", WORD, 1, [], [], 0, draining=[stateful(7, "1")])
            here.store.append(TableRecord(WORD, 1, 1, encode(nobody)), here.page.words)
            here.page.store(WORD, 1)
            models, _, waiting = joined(here)
            assert (waiting, models.targets) == (set(), {})

    asyncio.run(scenario())


def test_a_commit_missed_while_joining_is_found_in_the_store() -> None:
    """The controller may have published and stored between the join and the first pick."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            here.publish(2, entry(8, "2"))
            here.page.store(WORD, 2)
            request = here.ask(question())
            worker = here.connect(8)
            await worker.serve_one(5.0)
            await here.answered(request)
            assert request.json()["model_version"] == "2"

    asyncio.run(scenario())
