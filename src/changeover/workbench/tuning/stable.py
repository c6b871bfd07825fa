"""The processes of a tuning: one a session, so many at a time as there is memory for."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from changeover.runtime.machine import memory
from changeover.transport.control import WorkerSpec
from changeover.workbench.tuning.child import Child
from changeover.workbench.tuning.wish import Setting, Wish

Document = dict[str, Any]
_MOST: Final = 64
_OWN: Final = 64 << 20
"""Bytes that a process takes before it has loaded anything, with room to breathe."""
_SHARE: Final = 0.5
"""Of free memory."""


class Stable:
    """Processes by setting; settings of one session share one, but where memory is what is measured.

    Args:
        wish: what is wanted.
        folder: for the cache of optimised graphs.
        files: of the model by precision; others are added as they are made.
        patience: seconds that loading may take.

    Attributes:
        start_seconds: that the last fresh process took until it had loaded and was weighed.
    """

    def __init__(self, wish: Wish, folder: Path, files: dict[str, Path], patience: float) -> None:
        self._wish = wish
        self._folder = folder
        self.files = files
        self.patience = patience
        self.start_seconds = 0.0
        self._children: OrderedDict[Setting, Child] = OrderedDict()
        self._bytes: dict[Setting, int] = {}
        self.rows: Path | None = None
        self.most = _MOST
        for name in ("cache", "empty"):
            (folder / name).mkdir(exist_ok=True)

    def __enter__(self) -> Stable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def session_of(self, setting: Setting) -> Setting:
        """What stands for all settings that one process can measure."""
        if self._wish.objective == "memory":
            return setting
        base = self._wish.base
        return Setting(setting.precision, setting.providers, setting.level, setting.threads, 1, base.max_batch)

    def spec(self, setting: Setting) -> Document:
        """What a worker would be told."""
        runtime = setting.under(self._wish.base)
        path = self.files[setting.precision]
        spec = WorkerSpec(
            loading=0,
            model="tuned",
            version="1",
            digest=hashlib.sha256(str(path).encode()).hexdigest(),
            path=str(path),
            cache=str(self._folder / "cache"),
            empty=str(self._folder / "empty"),
            optimization=setting.level,
            instances=setting.instances,
            intra_op_threads=setting.threads,
            providers=setting.providers,
            max_batch=setting.max_batch,
            memory_limit=runtime.memory_limit or 0,
            run_timeout=runtime.run_timeout,
            session=runtime.session,
            custom_ops=self._wish.custom_ops,
        )
        told: Document = msgspec.to_builtins(spec)
        return told

    def start(self, setting: Setting) -> tuple[Child, Document]:
        """A fresh process that has loaded it, and what it told; the caller ends it. Raises as `Child.ask`."""
        child = Child()
        try:
            told = child.ask(self.patience, do="load", spec=self.spec(setting))
            if self.rows is not None:
                child.ask(self.patience, do="rows", file=str(self.rows))
        except BaseException:
            child.end()
            raise
        return child, told

    def child(self, setting: Setting) -> Child:
        """The process for a setting, started where there is none; the one not used for longest goes when too many are.

        Raises:
            ModelRejected: it cannot be loaded.
        """
        key = self.session_of(setting)
        if key not in self._children:
            while len(self._children) >= self.most:
                self._children.popitem(last=False)[1].end()
            began = time.monotonic()
            self._children[key] = child = self.start(key)[0]
            if self.rows is not None and key not in self._bytes:
                self._bytes[key] = self._weighed(child, key, full=self._wish.objective == "memory")
            self.start_seconds = time.monotonic() - began
        self._children.move_to_end(key)
        return self._children[key]

    def _weighed(self, child: Child, setting: Setting, *, full: bool) -> int:
        """Bytes that a process has taken: for single rows, or for the largest batches where these are what counts."""
        rows, callers = (setting.max_batch, setting.instances) if full else (1, 1)
        return int(child.ask(self.patience, do="weigh", rows=rows, callers=callers)["bytes"])

    def memory_of(self, setting: Setting) -> int | None:
        """Bytes of a setting's process, when it was loaded for the first time."""
        return self._bytes.get(self.session_of(setting))

    def make_room(self, setting: Setting) -> None:
        """Bound the processes by free memory, when all take what this one does; it and one other are always."""
        each = self.memory_of(setting) or 0
        if self._wish.objective == "throughput":  # which runs full batches in all of them
            each = max(each, self._weighed(self.child(setting), setting, full=True))
        self.most = max(2, min(_MOST, int(memory().free * _SHARE) // (2 * each + _OWN)))

    def drop(self, setting: Setting) -> None:
        """End the process of a setting."""
        child = self._children.pop(self.session_of(setting), None)
        if child is not None:
            child.end()

    def clear(self) -> None:
        """End all."""
        while self._children:
            self._children.popitem()[1].end()
