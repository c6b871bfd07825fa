"""The process that runs one setting: what it takes and how fast it is, and nothing else is in this process.

Asked by lines of JSON on stdin, answers on stdout. It loads as a worker does, with the same options, and like a
worker's its runner threads share one session. A crash or a hang here costs the tuner one setting.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import numpy as np

from changeover.errors import ChangeoverError, ModelRejected
from changeover.runtime import memory, session, warmup
from changeover.runtime.session import Array, Session
from changeover.tensors import TensorSpec
from changeover.transport.child import bind_to
from changeover.transport.control import WorkerSpec
from changeover.workbench.tuning import agreement
from changeover.workbench.tuning.rows import Rows

Document = dict[str, Any]
_KEPT: Final = 400
"""Times of runs that are told of a slice: more are thinned evenly by rank."""
_COPIES: Final = 3
"""Of the file of rows, that there are while it is read."""
_LONG: Final = 8.0
"""Seconds after which a slice has runs enough, however few: slow is not hung."""


class Subject:
    """One session, once `load` was asked for."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._before = memory.Marks.now()
        self._mapped = 0
        self._rows = Rows([], batchable=False)
        self._held = 0

    def load(self, asked: Document) -> Document:
        """Load as a worker does; what the model takes and gives, and the providers that there are."""
        import onnxruntime

        spec = msgspec.convert(asked["spec"], WorkerSpec)
        serving = memory.limit(spec)
        began = time.perf_counter()
        found = session.load(spec)
        loaded, self._mapped = found.session, found.mapped
        seconds = time.perf_counter() - began
        _trim()
        memory.set_limit(serving)
        self._session = loaded
        return {
            "inputs": [_told(one) for one in loaded.inputs],
            "outputs": [_told(one) for one in loaded.outputs],
            "offered": list(onnxruntime.get_available_providers()),
            "load_s": seconds,
        }

    def rows(self, asked: Document) -> Document:
        """Take the inputs of all runs from a file; they do not count against a limit of the model's memory."""
        file = Path(asked["file"])
        memory.make_room(_COPIES * file.stat().st_size)
        self._rows = Rows.read(file, self._model().inputs)
        self._held = sum(column.nbytes for column in self._rows.columns)
        return {}

    def measure(self, asked: Document) -> Document:
        """Run for some seconds, `callers` at a time: rows, seconds and the times of the runs."""
        model, callers, until = self._model(), asked["callers"], asked["seconds"]
        parts = [self._rows.some(asked["rows"], caller) for caller in range(callers)]
        model.run(parts[0])  # first runs are never like the others
        times: list[list[float]] = [[] for _ in parts]
        began = time.perf_counter()
        _together(lambda at: _run(model, parts[at], began + until, asked["least"], times[at]), callers)
        took = time.perf_counter() - began
        every = sorted(one for caller in times for one in caller)
        return {"rows": len(every) * asked["rows"], "seconds": took, "times": _thinned(every)}

    def weigh(self, asked: Document) -> Document:
        """Bytes that the model takes once the largest batches were run by all callers.

        Weights of the cache that are mapped count, although other versions may share them; other pages of files do not,
        and neither do the rows that it is run with.
        """
        for size in dict.fromkeys([1, asked["rows"]]):
            _together(partial(self._once, size), asked["callers"])
        _trim()
        after = memory.Marks.now()
        private = after.resident - after.shared - (self._before.resident - self._before.shared) - self._held
        return {"bytes": max(private, 0) + self._mapped}

    def _once(self, rows: int, caller: int) -> None:
        self._model().run(self._rows.some(rows, caller))

    def independent(self, asked: Document) -> Document:
        """Whether rows of one batch have nothing to do with each other: only then does a server batch."""
        model, many = self._model(), asked["rows"]
        rows = warmup.generated_rows(model.inputs, many, batchable=True)
        return {"independent": warmup.rows_independent(model, rows, model.run(rows), many)}

    def _model(self) -> Session:
        if self._session is None:
            raise ModelRejected("nothing is loaded", reason="load_failed")
        return self._session


def _run(model: Session, arrays: list[Array], until: float, least: int, times: list[float]) -> None:
    late = time.perf_counter() + _LONG
    while not times or time.perf_counter() < (until if len(times) >= least else max(until, late)):
        began = time.perf_counter()
        model.run(arrays)
        times.append(time.perf_counter() - began)


def _together(work: Callable[[int], object], callers: int) -> None:
    """In this thread for one caller, in threads for more, as a worker's runners are; the first failure is raised."""
    if callers == 1:
        work(0)
        return
    failures: list[Exception] = []

    def one(at: int) -> None:
        try:
            work(at)
        except Exception as error:  # noqa: BLE001 - raised again below: a thread would lose it
            failures.append(error)

    threads = [threading.Thread(target=one, args=(at,)) for at in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _thinned(ordered: list[float]) -> list[float]:
    if len(ordered) <= _KEPT:
        return ordered
    places = np.linspace(0, len(ordered) - 1, _KEPT).round().astype(int)
    return [ordered[at] for at in places]


def _told(spec: TensorSpec) -> list[Any]:
    return [spec.name, spec.datatype.name, list(spec.shape)]


def _trim() -> None:
    ctypes.CDLL(None).malloc_trim(0)  # as a worker: the loader's garbage goes back before it serves


def convert(asked: Document) -> Document:
    """Write the model in another precision."""
    from changeover.workbench.precision import converted

    rows = Rows.read(Path(asked["file"]), agreement.specs(asked["inputs"]))
    samples = rows.singly(asked["samples"])
    converted(Path(asked["model"]), asked["precision"], Path(asked["target"]), samples)
    return {}


def answer(asked: Document, subject: Subject) -> Document:
    """What is answered to one line."""
    handlers: dict[str, Callable[[Document], Document]] = {
        "load": subject.load,
        "rows": subject.rows,
        "measure": subject.measure,
        "weigh": subject.weigh,
        "independent": subject.independent,
        "agree": agreement.agree,
        "convert": convert,
    }
    try:
        return handlers[asked["do"]](asked)
    except ChangeoverError as error:
        return {"failed": error.reason, "detail": error.message}
    except MemoryError:
        return {"failed": "out_of_memory", "detail": "out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever a tool raises costs one setting, and is told
        return {"failed": "setting_crashed", "detail": f"{type(error).__name__}: {error}"[:500]}


def _serve(asked: TextIO, told: TextIO) -> None:
    subject = Subject()
    for line in asked:
        print(json.dumps(answer(json.loads(line), subject)), file=told, flush=True)


if __name__ == "__main__":
    bind_to(int(sys.argv[1]))
    with os.fdopen(os.dup(1), "w") as clean:
        os.dup2(2, 1)  # whatever a library prints is no answer
        _serve(sys.stdin, clean)
