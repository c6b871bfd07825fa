"""A loading that is to have a worker, and what the supervisor knows of that worker."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from changeover.sequences.geometry import Geometry, checked_geometry
from changeover.supervisor.circuit import Cause, Circuit, State
from changeover.supervisor.family import Member
from changeover.transport import page
from changeover.transport.channel import ChannelSize

STATES = ("verifying", "loading", "validating", "ready", "failed")
"""What a worker reports, in this order."""
_LEAST_PATIENCE = 10.0
_TIMES = 5.0


@dataclass(slots=True)
class Loading:
    """A loading that is to have a worker.

    Attributes:
        member: the present worker; None while one is to be replaced.
        size: of its channels, once a worker was ready.
        waiting: gateways that want a channel.
        reached: the place in `STATES` of the present worker.
        ready_at: when the present worker said that it is ready (`time.monotonic`), None before.
        took: seconds from the first worker's start until it was ready.
        base: private bytes of the zygote when the present worker was forked from it.
        due: when the next worker is tried.
        blameless: the last worker that had anything in hand was killed from outside.
        slab: the state of its sequences, kept as long as the loading lives: descriptors to write and to read.
    """

    number: int
    spec: dict[str, Any]
    member: Member | None = None
    size: ChannelSize | None = None
    status: dict[str, Any] | None = None
    ready_once: bool = False
    retiring: bool = False
    waiting: list[int] = field(default_factory=list)
    reached: int = -1
    ready_at: float | None = None
    took: float = 0.0
    base: int = 0
    due: float = 0.0
    blameless: bool = False
    circuit: Circuit = field(default_factory=Circuit)
    slab: tuple[int, int] | None = None
    geometry: Geometry | None = None

    def __repr__(self) -> str:
        """`<loading 7 of mnist>`."""
        return f"<loading {self.number} of {self.spec['model']}>"

    def died(self, cause: Cause, code: int) -> None:
        """The present worker has died. One that never was ready had nothing in hand that it could have died of."""
        self.circuit.died(self.lived, cause, code)
        self.due = monotonic() + self.circuit.wait
        if self.ready_at is not None:
            self.blameless = cause is Cause.KILLED

    def reach(self, state: int) -> None:
        """The present worker goes on to a state, by its place in `STATES`.

        Raises:
            ValueError: it has been there before: a worker reports each state once.
        """
        if state <= self.reached:
            raise ValueError(f"state {STATES[state]} after {STATES[self.reached]}")
        self.reached = state

    def hold_slab(self, told: object) -> None:
        """Make the slab that the first ready worker asks for; those after it ask for the same.

        Raises:
            Internal: it is no slab that can be made.
            ValueError: another one than before.
            OSError: there is no room for it.
        """
        if told is None and self.geometry is None:
            return
        geometry = checked_geometry(told)
        if self.geometry is None:
            fd = page.sealed_memfd("changeover-slab", geometry.total)
            try:
                geometry.lay_out(fd)
                self.slab, self.geometry = (fd, page.read_only(fd)), geometry
            except OSError:
                os.close(fd)
                raise
        elif geometry != self.geometry:
            raise ValueError(f"a slab of {geometry} after one of {self.geometry}")

    def end(self) -> None:
        """The loading is no more, and nor is the state of its sequences."""
        for fd in self.slab or ():
            os.close(fd)
        self.slab = None

    def proven(self, size: ChannelSize, signature: object, started: float) -> None:
        """The present worker is ready; later ones need not prove again what it did."""
        self.size, self.ready_at = size, monotonic()
        if not self.ready_once:
            self.took = self.ready_at - started
        self.spec = {**self.spec, "verify": False, "signature": signature}
        self.ready_once = True

    @property
    def lived(self) -> float:
        """Seconds for which the present worker has been ready."""
        return 0.0 if self.ready_at is None else monotonic() - self.ready_at

    @property
    def patience(self) -> float:
        """Seconds that a replacement may take until it is ready: it does less than the first one did."""
        return max(_LEAST_PATIENCE, _TIMES * self.took)

    def health(self) -> dict[str, Any]:
        """How its workers fare, for controller and gateways; `wait` counts from now."""
        return {"loading": self.number, **self.circuit.to_dict(max(0.0, self.due - monotonic()))}

    def refusal(self) -> dict[str, Any]:
        """What gateways are told while the circuit is not closed: nobody waits for a worker that is only tried."""
        return {**self.health(), "circuit": State.OPEN}

    def snapshot(self) -> dict[str, Any]:
        """What a new controller needs to know."""
        return {
            "loading": self.number,
            "model": self.spec["model"],
            "member": self.member.number if self.member else None,
            "pid": self.member.pid if self.member else None,
            "retiring": self.retiring,
            "status": self.status,
            "health": self.health(),
        }
