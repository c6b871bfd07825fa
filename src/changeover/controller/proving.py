"""The provers at work, as the controller asks and hears them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from changeover.controller.news import News
from changeover.rollout.fleet import Death, Proof
from changeover.transport.control import Retire, WorkerStatus
from changeover.transport.link import Frame, Kind
from changeover.transport.proving import Prove, ProverSpec, ProverStatus


@dataclass(slots=True)
class _Heard:
    """What one prover said last, how often it spoke, and its death."""

    status: ProverStatus | None = None
    times: int = 0
    death: Death | None = None

    @property
    def over(self) -> bool:
        return self.death is not None or (self.status is not None and self.status.ended)


class Provings:
    """Asks for provers and waits for what they find.

    Args:
        tell: sends a message to the supervisor.
        progress: hears of the state that a loading reaches.
    """

    def __init__(
        self, tell: Callable[[Kind, msgspec.Struct], None], progress: Callable[[WorkerStatus], None], news: News
    ) -> None:
        self._tell = tell
        self._progress = progress
        self._news = news
        self._open: dict[int, _Heard] = {}

    async def prove(self, spec: ProverSpec, patience: float) -> Proof:
        """Have a loading proven; returns when its prover has said all, died, or said nothing for so many seconds.

        A prover that is not done then is ended.
        """
        number = spec.worker.loading
        heard = self._open[number] = _Heard()
        self._tell(Kind.PROVE, Prove(number, spec))
        try:
            while not heard.over and await self._more(heard, patience):
                pass
        finally:
            del self._open[number]
            if not heard.over:
                self._tell(Kind.RETIRE, Retire(number, 0.0))
        return Proof(heard.status, heard.death)

    async def _more(self, heard: _Heard, patience: float) -> bool:
        before = heard.times
        return await self._news.until(lambda: heard.over or heard.times > before, patience)

    def on_proved(self, message: Frame) -> None:
        """A prover reports."""
        status = msgspec.json.decode(message.body, type=ProverStatus)
        heard = self._open.get(status.loading)
        if heard is not None:
            heard.status, heard.times = status, heard.times + 1
            if not status.ended:
                self._progress(WorkerStatus(status.loading, status.state))

    def died(self, death: Death) -> None:
        """A prover was reaped."""
        heard = self._open.get(death.loading)
        if heard is not None:
            heard.death = death
