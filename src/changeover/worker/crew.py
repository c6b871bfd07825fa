"""Runner threads: several batches at once on one session, whose runs hold no lock of the interpreter."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from changeover.errors import Internal
from changeover.worker.runner import ChannelClosed, Runner, Task


class Crew:
    """The runner threads of a worker.

    Args:
        size: of the crew.
        finished: called from a runner thread after each batch.
    """

    def __init__(self, size: int, finished: Callable[[], None]) -> None:
        self._finished = finished
        self._tasks: SimpleQueue[tuple[Runner, Task] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._life, name=f"runner-{n}") for n in range(size)]
        for thread in self._threads:
            thread.start()

    def give(self, runner: Runner, task: Task) -> None:
        """Have a batch run by whoever is free first."""
        runner.hold()
        self._tasks.put((runner, task))

    def finish(self) -> None:
        """Wait until all that was given is answered; the threads end."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _life(self) -> None:
        try:
            while (given := self._tasks.get()) is not None:
                self._run(*given)
        except BaseException:  # noqa: BLE001 - without this the worker would live on with a runner less
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def _run(self, runner: Runner, task: Task) -> None:
        try:
            runner.handle(task)
        except (ChannelClosed, Internal):
            runner.break_off()  # the loop reads its end, and lets go too
        finally:
            runner.let_go()
            self._finished()
