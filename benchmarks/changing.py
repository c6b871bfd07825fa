"""Changeovers one after the other against a server in which anything may be killed at any moment."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from rig import Server

ENDS = ("succeeded", "failed", "rolled_back")
_POLL = 0.03
_SILENT = 30.0
"""Seconds without a word, where the stream has one every ten."""
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Change:
    """One version's way: `phase` is how its rollout ended, "lost" when nobody knows of it."""

    version: int
    began: float
    ended: float
    phase: str
    rollout: str = ""


class Changer:
    """Pushes version after version of one model: odd ones are the first file, even ones the second."""

    def __init__(self, server: Server, model: str, files: tuple[bytes, bytes]) -> None:
        self._server = server
        self._model = model
        self._files = files
        self._next = 2
        self.changes: list[Change] = []

    @property
    def succeeded(self) -> int:
        """Changeovers that took place."""
        return sum(change.phase == "succeeded" for change in self.changes)

    def change(self) -> Change:
        """Push the next version and wait for the end of its rollout, through the deaths of the controller.

        Raises:
            TimeoutError: no end within the patience.
        """
        version, began = self._next, time.monotonic()
        self._next += 1
        rollout = self._push(version, began + PATIENCE)
        phase = self._end(rollout, began + PATIENCE) if rollout else "lost"
        self.changes.append(Change(version, began, time.monotonic(), phase, rollout))
        return self.changes[-1]

    def _push(self, version: int, until: float) -> str:
        """Return the rollout's id; empty when the controller died between taking the version and starting on it."""
        data = self._files[(version - 1) % 2]
        while True:
            try:
                return self._server.push(self._model, version, data)
            except urllib.error.HTTPError as error:
                if error.code == http.client.CONFLICT:  # an earlier attempt, whose answer was lost, arrived
                    return self._newest(version, until)
                problem: Exception = error
            except (OSError, http.client.HTTPException) as error:
                problem = error
            _again(problem, until)

    def _newest(self, version: int, until: float) -> str:
        shown = self._ask(f"/v1/models/{self._model}/rollout", until)
        return str(shown["id"]) if shown["to"]["version"] == str(version) else ""

    def _end(self, rollout: str, until: float) -> str:
        """How it ended: the events tell, so that nobody asks ten times a second on the cores that the proof needs."""
        while True:
            try:
                told = self._told(rollout, until)
            except (OSError, http.client.HTTPException):
                told = ""
            phase = told or str(self._ask(f"/v1/rollouts/{rollout}", until)["phase"])
            if phase in ENDS:
                return phase
            if time.monotonic() > until:
                raise TimeoutError(f"rollout {rollout} is still {phase} after {PATIENCE:.0f} s")
            time.sleep(_POLL)

    def _told(self, rollout: str, until: float) -> str:
        """The phase in which the stream of events says that it ended; empty where the stream ends before."""
        of = f"/v1/events?types=rollout&model={self._model}&last=20"
        with urllib.request.urlopen(f"http://127.0.0.1:{self._server.control}{of}", timeout=_SILENT) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if event.get("rollout") == rollout and event["phase"] in ENDS:
                        return str(event["phase"])
                if time.monotonic() > until:
                    break
        return ""

    def _ask(self, path: str, until: float) -> Any:
        while True:
            try:
                return self._server.get(path)
            except (OSError, http.client.HTTPException) as error:
                _again(error, until)


def _again(problem: Exception, until: float) -> None:
    """Wait a little before another attempt.

    Raises:
        TimeoutError: it has been long enough.
    """
    if time.monotonic() > until:
        raise TimeoutError(f"the control port: {problem}") from problem
    time.sleep(_POLL)
