"""The webhook: each alert is told once and in order, as often as it takes.

What was told is a number in the journal, and what is to be told is the journal's events after it: a controller that is
killed forgets nothing. One that is killed between the receiver's answer and its own note tells the last one again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from changeover.controller.alarms import notice
from changeover.controller.alarms.post import NotTaken, post
from changeover.controller.events.feed import Feed, document
from changeover.errors import ChangeoverError
from changeover.records.journal import Journal

PATIENCE: Final = 5.0
"""Seconds for one try."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_TRIES_FOR_GOOD: Final = 3
"""Tries of what its receiver refuses by its status: then the next is told."""
_REPEAT: Final = 60.0
"""Seconds after which Alertmanager is told again what fires: it forgets what it does not hear of for five minutes."""
log = logging.getLogger("changeover.alerts")


Firing = Callable[[], Awaitable[list[dict[str, Any]]]]


class Webhook:
    """Tells one address.

    Args:
        url: of the receiver.
        form: `json`, a POST an alert; `alertmanager`, its API v2.
        source: address of the control port.
        firing: gives those that fire, for Alertmanager.
    """

    def __init__(self, url: str, form: str, source: str, feed: Feed, journal: Journal, firing: Firing) -> None:
        self._url = url
        self._host = urlsplit(url).netloc.rpartition("@")[2]  # the rest may be a secret
        self._form = form
        self._source = source
        self._feed = feed
        self._journal = journal
        self._firing = firing

    async def run(self) -> None:
        """Tell, as long as the controller lives."""
        place, clock = await self._begin(), asyncio.get_running_loop().time
        due = clock() + _REPEAT
        while True:
            try:
                if clock() >= due:  # also while other events come without a pause
                    due = clock() + _REPEAT
                    await self._repeat()
                place = await self._told_after(place, due - clock())
            except ChangeoverError as error:  # no reason to end the control plane
                log.error("the webhook waits for the journal: %s", error.message)  # noqa: TRY400
                await asyncio.sleep(_FIRST_PAUSE)

    async def _told_after(self, place: int, patience: float) -> int:
        """Tell the next alerts, or wait so many seconds for some; the place of the last event seen."""
        found = await self._feed.next(place)
        if not found:
            await self._feed.news(place, None, max(patience, 0.0))
            return place
        alerts = [document(event) for event in found if event.kind == "alert"]
        for bundle in self._bundles(alerts):
            await self._tell(bundle)
        if alerts:
            await self._note(found[-1].id)
        return found[-1].id

    async def _begin(self) -> int:
        """After what was told last; what was before the first webhook is history."""
        while True:
            try:
                told = await asyncio.to_thread(lambda: self._journal.alarms.told)
                place, reset = await self._feed.place(told)
                if told is None:
                    await asyncio.to_thread(self._journal.alarms.tell, place)
            except ChangeoverError as error:
                log.error("the webhook waits for the journal: %s", error.message)  # noqa: TRY400
                await asyncio.sleep(_FIRST_PAUSE)
            else:
                if reset is not None:
                    log.error("alerts before event %d were never told: the journal keeps them no more", place)
                return place

    def _bundles(self, alerts: list[dict[str, Any]]) -> list[bytes]:
        if self._form == "json":
            return [notice.ours(alert) for alert in alerts]
        told = [alert for alert in alerts if self._is_ours(alert)]
        return [notice.alertmanagers(told, self._source)] if told else []

    def _is_ours(self, alert: dict[str, Any]) -> bool:
        """Whether it can be told as Alertmanager wants it: one of another release must not keep back the others."""
        try:
            notice.alertmanagers([alert], self._source)
        except (KeyError, TypeError, AttributeError):
            log.error("event %s is no alert of ours and is left out", alert.get("id"))  # noqa: TRY400
            return False
        return True

    async def _repeat(self) -> None:
        if self._form == "alertmanager" and (bundles := self._bundles(await self._firing())):
            try:
                await post(self._url, bundles[0], PATIENCE)
            except NotTaken as error:
                log.warning("%s was not reminded of what fires: %s", self._host, error)

    async def _tell(self, body: bytes) -> None:
        """Until it is taken, or refused for good."""
        pause, tries = _FIRST_PAUSE, 0
        while True:
            tries += 1
            try:
                await post(self._url, body, PATIENCE)
            except NotTaken as error:
                if error.for_good and tries >= _TRIES_FOR_GOOD:
                    log.error("%s does not take an alert, which is left out: %s", self._host, error)  # noqa: TRY400
                    return
                log.warning("%s has not taken an alert: %s; again in %.3g s", self._host, error, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    async def _note(self, place: int) -> None:
        try:
            await asyncio.to_thread(self._journal.alarms.tell, place)
        except ChangeoverError as error:  # a restart would tell the last ones again
            log.error("what was told is not on record: %s", error.message)  # noqa: TRY400
