"""What gateways count of their runs, and how one of them answers for all."""

from __future__ import annotations

import asyncio
import os

import pytest

from changeover.gateway.statistics import Ledgers, model_stats
from changeover.transport.board import Board, create_board
from tests.gateway.stage import Stage, entry, question, stage


async def answered(here: Stage, factor: float, rows: int = 1) -> None:
    """One request of some rows, answered by the only worker."""
    request = here.ask(question(rows=rows))
    await here.answered(request)
    assert request.values[0] == factor


def test_one_gateway_answers_for_all() -> None:
    """Counts of two gateways are summed, a successor goes on from where its predecessor wrote last."""

    async def scenario() -> None:
        memory = create_board(2)
        async with stage() as one, stage() as two:
            ledgers = []
            serving = []
            for place, here in enumerate((one, two)):
                (worker,) = here.serve(1, entry(7, "1"))
                serving.append(asyncio.create_task(worker.serve(2.0)))
                ledgers.append(Ledgers(here.models, Board(memory), place))
            await answered(one, 2.0)
            await answered(one, 2.0, rows=3)
            await answered(two, 2.0)
            target = two.models.targets[7]
            assert ledgers[1].of([target])[0].success == 1
            ledgers[0].tell()
            (total,) = ledgers[1].of([target])
            assert (total.success, total.runs, total.inferences, total.executions, total.fail) == (3, 3, 5, 3, 0)
            assert {rows: size.count for rows, size in total.sizes.items()} == {1: 2, 3: 1}
            parts = total.queue_ns + total.input_ns + total.infer_ns + total.output_ns
            assert 0 < total.infer_ns <= parts
            assert total.success_ns > 0
            ledgers[1].tell()
            successor = Ledgers(two.models, Board(memory), 1)
            await answered(two, 2.0)
            assert successor.of([target])[0].success == 5, "its own are counted beside what it inherited"
            for task in serving:
                task.cancel()
        os.close(memory)

    asyncio.run(scenario())


def test_what_stands_on_the_board_may_be_nonsense() -> None:
    """Another gateway's text that is no statistics counts as nothing."""

    async def scenario() -> None:
        memory = create_board(2)
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            Board(memory).write(2, b'[["seven"]]')
            ledgers = Ledgers(here.models, Board(memory), 0)
            told = model_stats(ledgers, [("m", list(here.models.targets.values()))])
            assert [(s["name"], s["version"], s["inference_count"]) for s in told["model_stats"]] == [("m", "1", 0)]
        os.close(memory)

    asyncio.run(scenario())


def test_failures_count_with_their_time_and_the_callers_mistakes_do_not() -> None:
    """`fail` is what a worker could not answer."""

    async def scenario() -> None:
        memory = create_board(1)
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            wrong = here.ask(question(outputs=[{"name": "w"}]))
            failing = here.ask(question())
            header, _ = await worker.take()
            worker.refuse(header)
            await here.answered(wrong, failing)
            (total,) = Ledgers(here.models, Board(memory), 0).of([here.models.targets[7]])
            assert (wrong.status, failing.status) == (400, 500)
            assert (total.success, total.fail, total.executions, total.inferences) == (0, 1, 1, 0)
            assert total.fail_ns > 0
        os.close(memory)

    asyncio.run(scenario())


def test_telling_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes long, the next one waits; nothing is written where nothing is new."""

    async def scenario() -> None:
        memory = create_board(1)
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            serving = asyncio.create_task(worker.serve(2.0))
            board, now = Board(memory), [1000.0]
            ledgers = Ledgers(here.models, board, 0)
            monkeypatch.setattr("changeover.gateway.statistics.monotonic", lambda: now[0])
            write = board.write

            def slow(area: int, text: bytes) -> None:
                now[0] += 0.02
                write(area, text)

            monkeypatch.setattr(board, "write", slow)
            numbers = []
            for pause in (0.0, 0.25, 1.0, 1.0, 1.0):
                now[0] += pause
                if pause < 1 or len(numbers) == 2:
                    await answered(here, 2.0)
                ledgers.tell()
                numbers.append(board.number(1))
            assert numbers == [1, 1, 1, 2, 2]
            serving.cancel()
        os.close(memory)

    asyncio.run(scenario())
