"""Waiting for a change of what others said."""

from __future__ import annotations

import asyncio

from changeover.controller.news import News


def test_a_condition_is_looked_at_again_at_every_change() -> None:
    """And at the deadline once more."""

    async def scenario() -> None:
        news, seen = News(), list[int]()
        task = asyncio.create_task(news.until(lambda: len(seen) > 1, 10.0))
        for number in range(2):
            await asyncio.sleep(0.01)
            assert not task.done()
            seen.append(number)
            news.tell()
        assert await task
        assert not await news.until(lambda: False, 0.01)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_more_ends_with_the_first_change_or_the_time() -> None:
    """Whichever comes first; a change before it counts not."""

    async def scenario() -> None:
        news = News()
        news.tell()
        task = asyncio.create_task(news.more(10.0))
        await asyncio.sleep(0.01)
        assert not task.done()
        news.tell()
        await task
        await news.more(0.01)

    asyncio.run(asyncio.wait_for(scenario(), 10))
