"""The watch: looks once a second, keeps what fires on record, and says it in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from changeover.controller.alarms.alarms import Alarm, Alarms, read
from changeover.controller.alarms.condition import Condition, Key
from changeover.controller.alarms.lookout import Lookout
from changeover.controller.fleet import Fleet
from changeover.errors import ChangeoverError
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.settings import Settings

_TURN: Final = 0.005
"""Seconds after which whatever waits in the controller's loop goes first."""
log = logging.getLogger("changeover.alerts")


class Watch:
    """Over everything.

    A change is on record before it is told to anybody. While the journal cannot be written changes wait, in order; the
    log has them at once.
    """

    def __init__(self, settings: Settings, journal: Journal, fleet: Fleet) -> None:
        self._journal = journal
        self._lookout = Lookout(settings, fleet)
        self._alarms: Alarms | None = None
        self._waiting: list[Alarm] = []

    async def look(self, drivers: Mapping[str, Driver]) -> None:
        """Once more."""
        try:
            alarms = await self._known()
        except ChangeoverError as error:
            log.error("the alarms on record cannot be read: %s", error.message)  # noqa: TRY400
            return
        firing = {key: alarm.seen.baseline for key, alarm in alarms.firing.items()}
        unknown = {model for model, driver in drivers.items() if not driver.recovered.is_set()}
        for change in alarms.look(await self._conditions(drivers, firing), unknown):
            _say(change)
            self._waiting.append(change)
        if self._waiting:
            await self._record()

    async def _conditions(self, drivers: Mapping[str, Driver], firing: Mapping[Key, float | None]) -> list[Condition]:
        """All there are. With many models others have their turns meanwhile: reports, questions, the heart-beat."""
        found: list[Condition] = []
        began = monotonic()
        for part in self._lookout.parts(drivers, firing):
            found += part
            if monotonic() - began > _TURN:
                await asyncio.sleep(0)
                began = monotonic()
        return found

    async def firing(self) -> list[dict[str, Any]]:
        """Those that fire, for the API.

        Raises:
            ChangeoverError: this controller has not looked yet, and the journal cannot be read.
        """
        alarms = (await self._known()).firing.values()
        return [{"model": alarm.key.model, **alarm.body()} for alarm in sorted(alarms, key=lambda a: a.since)]

    async def _known(self) -> Alarms:
        """All that fire; at first those on record."""
        if self._alarms is None:
            found = await asyncio.to_thread(self._on_record)
            self._alarms = self._alarms or Alarms(found)
        return self._alarms

    async def _record(self) -> None:
        waiting = list(self._waiting)
        try:
            await asyncio.to_thread(self._write, waiting)
        except ChangeoverError as error:
            log.error("%d alerts are not on record yet: %s", len(waiting), error.message)  # noqa: TRY400
        else:
            del self._waiting[: len(waiting)]

    # -- in a thread ---------------------------------------------------------------------------------------

    def _on_record(self) -> list[Alarm]:
        found = []
        for model, body in self._journal.alarms.firing():
            try:
                found.append(read(model, body))
            except (KeyError, TypeError):  # of another release
                log.warning("an alarm on record is unknown here: %s", body.get("alert"))
        return found

    def _write(self, changes: list[Alarm]) -> None:
        with self._journal.together():
            for alarm in changes:
                self._journal.alarms.record(str(alarm.key), alarm.key.model, alarm.body())


def _say(alarm: Alarm) -> None:
    about = {"model": alarm.key.model, "version": alarm.key.version, "rollout": alarm.seen.rollout}
    level = logging.ERROR if alarm.state == "firing" else logging.INFO
    log.log(level, "%s %s: %s", alarm.state, alarm.key, alarm.seen.detail, extra=about)
