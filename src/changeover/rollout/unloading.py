"""Unloading a model: no version of it serves any more, and its memory comes back.

A table that names no version takes effect as any other does (DESIGN §5), so it survives crashes and restarts; what is
in flight is answered before the workers end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from changeover.errors import ChangeoverError, Internal
from changeover.rollout.machine import Event, Phase, Told
from changeover.rollout.tables import Draft, nobody

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

_TOLD: Final = Told("unloaded", "the model was unloaded", "operator")
_LOADING: Final = (Phase.PENDING, Phase.VALIDATING)


async def unload(driver: Driver) -> None:
    """Have it done between the driver's other calls; what waits for its turn is passed over.

    Returns when the workers have ended; at once when none serves.

    Raises:
        Internal: the switch was given up, and all is as it was; or a rollout under way could not be ended.
    """
    await driver.taken_over.wait()
    current = driver.current
    if current is not None and current.rollout.phase in _LOADING:
        current.stop(Event.ABORT_ASKED, _TOLD)  # the driver is busy with the load, and would hear of it only afterwards
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    driver.enqueue(lambda: _answer(driver, answer))
    await answer


async def _answer(driver: Driver, answer: asyncio.Future[None]) -> None:
    try:
        await driver.queue.clear(_TOLD)
        await _end_rollout(driver)
        await _let_go(driver)
    except ChangeoverError as error:
        if not answer.done():
            answer.set_exception(error)
        return
    if not answer.done():
        answer.set_result(None)


async def _end_rollout(driver: Driver) -> None:
    """One that is under way goes back, one in its undo window has succeeded."""
    current = driver.current
    if current is None or current.rollout.phase.terminal:
        return
    if current.rollout.phase is Phase.WATCHING:
        await driver.end_window()
    elif current.rollout.phase is not Phase.ROLLING_BACK:
        await driver.feed(current, Event.ABORT_ASKED, _TOLD)
    if not current.rollout.phase.terminal:
        raise Internal(
            f"{driver.model}: the rollout {current.id} is {current.rollout.phase}: nothing is unloaded yet, try again",
            reason="not_done",
        )


async def _let_go(driver: Driver) -> None:
    """The switch to nobody, then the drain, then the end of the workers."""
    commands, switch = driver.commands, driver.switch
    if commands.active is None:
        return
    served = [loading for loading in (commands.active, commands.standby) if loading is not None]
    prepared = await switch.prepare(lambda epoch: nobody(Draft(driver.model, switch.word, epoch)), None)
    await switch.forward(prepared)
    commands.active = commands.standby = None
    for loading in served:
        await commands.releases.end(loading)
