"""The drivers of all models: each is made when its model is first heard of, and runs as long as the controller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from changeover.controller import words
from changeover.controller.fleet import Fleet
from changeover.errors import InvalidRequest, NotFound
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.settings import Settings
from changeover.telemetry import logs

log = logging.getLogger("changeover.controller")


class Drivers:
    """By model, with the word of the route page that each has.

    Attributes:
        by_model: all that were made.
        on_end: called when a rollout of any of them has come to its end.
        tasks: the group in which they run; set before the first is made.
    """

    def __init__(self, settings: Settings, journal: Journal, fleet: Fleet, term: int) -> None:
        self.by_model: dict[str, Driver] = {}
        self.on_end: Callable[[], None] = lambda: None
        self.tasks: asyncio.TaskGroup
        self._settings = settings
        self._journal = journal
        self._fleet = fleet
        self._term = term
        self._words = words.in_use(fleet)
        fleet.on_status = lambda status: self._tell(lambda driver: driver.loader.on_status(status))
        fleet.on_health = lambda health: self._tell(lambda driver: driver.on_news(health))
        fleet.observatory.totals.role_of = self._role
        fleet.on_death = lambda death: self._tell(lambda driver: driver.on_news(death))

    def made(self, model: str) -> Driver:
        """The driver of a model, new or not.

        Raises:
            InvalidRequest: there is no place for one more (`too_many_models`).
        """
        driver = self.by_model.get(model)
        if driver is None:
            word = self._words.get(model) or words.free(self._words)
            self._words[model] = word
            driver = Driver(model, word, self._fleet, self._journal, self._term, self._settings)
            driver.on_end = self.on_end
            self.by_model[model] = driver
            with logs.about(model=model):
                self.tasks.create_task(driver.run())
        return driver

    def known(self, model: str) -> Driver:
        """The driver of a model that has one.

        Raises:
            NotFound: it has none.
        """
        if model not in self.by_model:
            known = ", ".join(sorted(self.by_model)) or "none"
            raise NotFound(f"unknown model {model!r}; known: {known}", reason="model_not_found")
        return self.by_model[model]

    def check_place(self, model: str) -> None:
        """Is there a place for this model? Asked before anything of it is recorded.

        Raises:
            InvalidRequest: no (`too_many_models`).
        """
        if model not in self._words:
            words.free(self._words)

    async def recover(self, models: list[str]) -> None:
        """Make those of the models that the journal knows, and wait until each knows what serves.

        One too many does not keep the others from serving.
        """
        for model in models:
            try:
                self.made(model)
            except InvalidRequest as error:
                log.error("model %s is not served: %s", model, error.message)  # noqa: TRY400
        for driver in list(self.by_model.values()):
            await driver.taken_over.wait()

    async def idle(self) -> None:
        """Wait until each has done what it was asked for, as far as that goes without time or people."""
        for driver in list(self.by_model.values()):
            await driver.idle()

    def serving(self) -> list[str]:
        """Models that have an active version, sorted."""
        return sorted(model for model, driver in self.by_model.items() if driver.active)

    def _role(self, model: str, loading: int) -> str:
        driver = self.by_model.get(model)
        live = driver.loader.live.get(loading) if driver is not None else None
        return driver.role(live) if driver is not None and live is not None else "none"

    def _tell(self, tell: Callable[[Driver], None]) -> None:
        for driver in self.by_model.values():
            tell(driver)
