"""A session whose runs go wrong on purpose: what a rehearsal puts in front of the judge and the shield.

Everything around the session is the real thing, so what a client, a gate or a gateway sees of a fault here is what it
would see of a model that is broken in this way.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from changeover.errors import ModelRunFailed
from changeover.runtime import session
from changeover.runtime.session import Array, Loaded, Session
from changeover.runtime.stateless import without_sequences
from changeover.transport.control import Fault, WorkerSpec

_LONG = 3600.0


def load(spec: WorkerSpec) -> Loaded:
    """Load a sealed model, as `session.load` does, with the faults that the spec gives it; see `stateless`.

    Raises:
        ModelRejected: as `session.load` and `without_sequences`.
    """
    loaded = session.load(spec)
    if spec.faults:
        loaded = replace(loaded, session=FaultySession(loaded.session, spec.faults, spec.loading))
    return without_sequences(loaded, spec)


class FaultySession(Session):
    """A session with faults.

    Args:
        real: what runs.
        faults: all that strike a run do so.
        seed: of the chance by which a fault with a `rate` below 1 strikes.
    """

    def __init__(self, real: Session, faults: Sequence[Fault], seed: int) -> None:
        self.inputs, self.outputs = real.inputs, real.outputs
        self._real = real
        self._faults = faults
        self._random = random.Random(seed)  # noqa: S311 - which runs go wrong is no secret
        self._numbers = itertools.count(1)
        self._leaked: list[bytes] = []

    def run(self, arrays: list[Array]) -> list[Array]:
        """One execution, with what goes wrong in it.

        Raises:
            ModelRunFailed: by a fault (`injected_fault`), or by the model itself.
        """
        return self.run_feeds({spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)})

    def run_feeds(self, feeds: dict[str, Array]) -> list[Array]:
        """The same with arrays by input name."""
        number = next(self._numbers)
        struck = [fault for fault in self._faults if self._strikes(fault, number)]
        for fault in struck:
            self._before(fault)
        began = time.thread_time()
        outputs = self._real.run_feeds(feeds)
        for fault in struck:
            if fault.kind == "slow":
                _burn(began, fault)
            elif fault.kind == "nan":
                outputs = [_not_a_number(array) for array in outputs]
            elif fault.kind == "labels":
                outputs = [_relabelled(array) for array in outputs]
        return outputs

    def _strikes(self, fault: Fault, number: int) -> bool:
        if number <= fault.after or (fault.when and not os.path.exists(fault.when)):
            return False
        return fault.rate >= 1 or self._random.random() < fault.rate

    def _before(self, fault: Fault) -> None:
        """What happens before, or instead of, the run."""
        if fault.kind == "error":
            raise ModelRunFailed("a fault that was injected for a rehearsal", reason="injected_fault")
        if fault.kind == "leak":
            self._leaked.append(b"\x01" * fault.bytes)  # written to, so that it is resident
        elif fault.kind == "crash":
            _crash()
        elif fault.kind == "hang":
            while True:
                time.sleep(_LONG)


def _crash() -> None:
    """Die as a native operator does. SIGKILL would look as if it came from outside, which is no fault of the model."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(_LONG)  # in case another thread takes the signal: this run has no answer


def _burn(began: float, fault: Fault) -> None:
    """Use processor time until this thread has used what the run, which took it from `began` until now, is to take."""
    took = time.thread_time() - began
    until = began + max(took * fault.factor, took + fault.seconds)
    while time.thread_time() < until:
        pass


def _not_a_number(array: Array) -> Array:
    return np.full_like(array, np.nan) if array.dtype.kind == "f" else array


def _relabelled(array: Array) -> Array:
    """Move everything along by one class; a value without neighbours is made another one."""
    if array.ndim and array.shape[-1] > 1:
        return np.roll(array, 1, axis=-1)
    if array.dtype.kind in "iuf":
        return array + np.ones((), array.dtype)
    return ~array if array.dtype.kind == "b" else array
