"""The lookout: what of the models, the machine and the rollouts is looked at once a second, as conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from changeover.controller.alarms.condition import Condition, Key
from changeover.controller.alarms.latency import SHARE, slower, slower_than
from changeover.controller.alarms.past import SLICE, Past, Slice, slice_of
from changeover.controller.events.sample import name_among
from changeover.controller.fleet import Fleet
from changeover.controller.pulse import Beat, sum_of
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Phase
from changeover.runtime import machine
from changeover.settings import Settings
from changeover.telemetry.observations import percentile

_BURN: Final = (5, 60)
"""Seconds over which the share of errors is looked at: what breaks, and what smoulders."""
_LEAST_FAILURES: Final = 3
_BACK_S: Final = 60.0
"""A way back takes a second; one that takes so long is stuck, whatever the setting says."""


class Lookout:
    """Remembers what was normal.

    Args:
        settings: thresholds; 0 turns one off.
        fleet: its pulse is what is looked at.
    """

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self._settings = settings
        self._fleet = fleet
        self._past: dict[int, Past] = {}  # by loading
        self._models: dict[str, Past] = {}
        self._scores: dict[str, tuple[float | None, float | None]] = {}
        self._due: dict[str, int] = {}  # by model, the look at which ten more seconds of it are over
        self._looks = 0

    def look(self, drivers: Mapping[str, Driver], firing: Mapping[Key, float | None]) -> list[Condition]:
        """Everything, once."""
        return [condition for part in self.parts(drivers, firing) for condition in part]

    def parts(self, drivers: Mapping[str, Driver], firing: Mapping[Key, float | None]) -> Iterator[list[Condition]]:
        """The same, a model at a time: who looks at many can let others have a turn in between.

        Args:
            drivers: of all models; they may become more or fewer meanwhile.
            firing: alarms that fire, each with what was normal when it began.
        """
        self._looks += 1
        yield [*self._memory()]
        for name, driver in list(drivers.items()):
            yield [*self._of_model(driver, firing)]
            self._remember(name, driver)
        if self._looks % SLICE == 0:
            self._forget(drivers)

    # -- the machine ---------------------------------------------------------------------------------------

    def _memory(self) -> Iterator[Condition]:
        part = self._settings.alert_memory
        if not part:
            return
        told = machine.memory()
        taken = 1 - told.free / told.total
        whose = "control group's" if told.of == "cgroup" else "machine's"
        detail = f"{taken:.1%} of the {whose} {told.total:,} bytes are in use; {part:.0%} are allowed"
        yield Condition(Key("memory"), taken > part, round(taken, 4), part, detail)

    # -- a model -------------------------------------------------------------------------------------------

    def _of_model(self, driver: Driver, firing: Mapping[Key, float | None]) -> Iterator[Condition]:
        for loading in list(driver.loader.live.values()):
            if driver.role(loading) != "none":
                yield from self._of_version(driver, loading, firing)
        if self._settings.alert_latency:
            yield from self._pair(driver, firing)
        if self._settings.alert_anomaly:
            yield from self._anomalies(driver.model)
        yield from self._stuck(driver)

    def _of_version(self, driver: Driver, loading: Loading, firing: Mapping[Key, float | None]) -> Iterator[Condition]:
        name, beats = _named(driver, loading), self._beats(loading)
        rollout = _rollout_of(driver, loading)
        if self._settings.alert_errors:
            key = Key("errors", driver.model, name)
            yield self._errors(key, beats, rollout, told=key in firing)
        if self._settings.alert_latency:
            key = Key("latency_over_past", driver.model, name)
            yield self._over_past(key, loading, beats, firing)
        worker = self._fleet.workers.get(loading.number)
        health = worker.health[0] if worker is not None and worker.health is not None else None
        looping = health is not None and health.circuit != "closed"
        detail = f"the worker of version {loading.name} " + (
            f"died {health.deaths} times in a row" if health and looping else "is well"
        )
        yield Condition(Key("worker_crash_loop", driver.model, name), looping, detail=detail, rollout=rollout)

    def _errors(self, key: Key, beats: list[Beat], rollout: str | None, *, told: bool) -> Condition:
        """What breaks is seen within seconds, what smoulders within a minute."""
        limit, seen = self._settings.alert_errors, []
        if not told and sum([beat.failed + beat.shielded for beat in beats]) < _LEAST_FAILURES:
            return Condition(key, False if any(beat.asked for beat in beats) else None)
        for seconds in _BURN:
            asked = sum(beat.asked for beat in beats[-seconds:])
            failures = sum(beat.failures for beat in beats[-seconds:])
            if asked:
                over = failures >= _LEAST_FAILURES and failures / asked > limit
                detail = f"{failures:,} of {asked:,} requests failed in the last {seconds} s ({failures / asked:.2%})"
                seen.append((over, failures / asked, f"{detail}; {limit:.2%} are allowed"))
        if not seen:
            return Condition(key, None)
        over, share, detail = next((one for one in seen if one[0]), seen[-1])
        return Condition(key, over, round(share, 6), limit, detail, rollout)

    def _over_past(
        self, key: Key, loading: Loading, beats: list[Beat], firing: Mapping[Key, float | None]
    ) -> Condition:
        past, began = self._past.get(loading.number), firing.get(key)
        normal = began if began is not None else past.p95_s if past else None
        if normal is None:
            return Condition(key, None)
        part = self._settings.alert_latency
        bad, answers, limit = slower_than(beats, normal, part)
        if not bad and key not in firing:
            return Condition(key, bad)
        value = percentile(answers, SHARE) or 0.0
        detail = f"p95 of version {loading.name} is {_ms(value)}, and was {_ms(normal)} ({part:.0%} more is allowed)"
        return Condition(key, bad, round(value, 6), round(limit, 6), detail, baseline=normal)

    def _pair(self, driver: Driver, firing: Mapping[Key, float | None]) -> Iterator[Condition]:
        """The newer version beside the one that everything can go back to, while both have traffic."""
        newer, older = driver.candidate or driver.active, driver.active if driver.candidate else driver.standby
        if newer is None or older is None:
            return
        part, key = self._settings.alert_latency, Key("latency_over_other", driver.model, _named(driver, newer))
        bad, answers, limit = slower(self._beats(newer), self._beats(older), part)
        if not bad and key not in firing:
            yield Condition(key, bad)
            return
        value = percentile(answers, SHARE) or 0.0
        detail = f"p95 of version {newer.name} is {_ms(value)}; beside {older.name} {_ms(limit)} are allowed"
        yield Condition(key, bad, round(value, 6), round(limit, 6), detail, _rollout_of(driver, newer))

    def _stuck(self, driver: Driver) -> Iterator[Condition]:
        current, after = driver.current, self._settings.alert_stuck
        if not after or current is None or not current.history:
            return
        rollout = current.rollout
        if rollout.phase.terminal or rollout.phase is Phase.WATCHING:
            return
        patience = min(after, _BACK_S) if rollout.phase is Phase.ROLLING_BACK else after
        if rollout.phase.compares:
            patience += current.step.hold or 0.0
        stands = (datetime.now(UTC) - datetime.fromisoformat(current.history[-1]["at"])).total_seconds()
        by_hand = rollout.held or rollout.course.manual
        bad = stands > patience and (rollout.phase is Phase.ROLLING_BACK or not by_hand)
        where = f"{rollout.phase} {rollout.step or ''}".rstrip()
        detail = f"rollout {current.id} to version {rollout.target} has been {where} for {stands:.0f} s"
        key = Key("rollout_stuck", driver.model, rollout.target)
        yield Condition(key, bad, round(stands, 1), patience, detail, current.id)

    # -- the past ------------------------------------------------------------------------------------------

    def _anomalies(self, model: str) -> Iterator[Condition]:
        limit = self._settings.alert_anomaly
        scores = self._scores.get(model, (None, None))
        for alert, score in zip(("latency_anomaly", "errors_anomaly"), scores, strict=True):
            if score is None:
                yield Condition(Key(alert, model), None)
                continue
            what = "p95" if alert == "latency_anomaly" else "share of errors"
            told = f"the {what} of the last {SLICE} s lies {score:.1f} deviations above the last hour's median"
            yield Condition(Key(alert, model), score > limit, round(score, 2), limit, told)

    def _remember(self, name: str, driver: Driver) -> None:
        """Ten seconds of a model are over: judged by what was before them, then a part of it.

        A tenth of the models has its turn each second, so that none is longer than the others.
        """
        due = self._due.setdefault(name, self._looks + SLICE - 1 + len(self._due) % SLICE)
        if due > self._looks:
            return
        self._due[name] = self._looks + SLICE
        beats = {number: self._fleet.observatory.pulse.last(number, SLICE) for number in driver.loader.live}
        for number, beat in beats.items():
            _add(self._past.setdefault(number, Past()), slice_of(beat))
        self._score(name, slice_of(sum_of(beats.values())))

    def _forget(self, drivers: Mapping[str, Driver]) -> None:
        """What is no more."""
        live = {number for driver in drivers.values() for number in driver.loader.live}
        self._past = {number: past for number, past in self._past.items() if number in live}
        self._models = {name: past for name, past in self._models.items() if name in drivers}
        self._scores = {name: scores for name, scores in self._scores.items() if name in drivers}
        self._due = {name: due for name, due in self._due.items() if name in drivers}

    def _score(self, model: str, new: Slice | None) -> None:
        past = self._models.setdefault(model, Past())
        if new is None:
            self._scores[model] = None, None
            return
        self._scores[model] = past.latency_score(new), past.error_score(new)
        past.add(new)

    def _beats(self, loading: Loading) -> list[Beat]:
        return list(self._fleet.observatory.pulse.recent.get(loading.number, ()))


def _add(past: Past, new: Slice | None) -> None:
    if new is not None:
        past.add(new)


def _named(driver: Driver, loading: Loading) -> str:
    """By its number; by number and digest while two with the same number serve, so that neither hides the other."""
    return name_among(loading, [other for other in driver.loader.live.values() if driver.role(other) != "none"])


def _rollout_of(driver: Driver, loading: Loading) -> str | None:
    current = driver.current
    return current.id if current is not None and current.candidate is loading else None


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.{1 if seconds < 0.1 else 0}f} ms" if math.isfinite(seconds) else "-"
