"""Asks a server all requests in order, and keeps its answers as a file."""

from __future__ import annotations

import http.client
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from compatibility.answers import Facts, asker
from compatibility.forms import Grpc, Http
from compatibility.servers import Ports
from rig import say

Start = Callable[[], AbstractContextManager[Ports]]
Answers = dict[str, Facts]


@dataclass(frozen=True, slots=True)
class Recording:
    """Both servers' answers, by the requests' names.

    Attributes:
        about: when and with what.
    """

    about: dict[str, str]
    theirs: Answers
    ours: Answers

    def save(self, path: Path) -> None:
        """Write it."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


def record(start: Start, requests: Sequence[Http | Grpc]) -> Answers:
    """The answers of one server; it is started again when a request has ended it."""
    found: Answers = {}
    left = deque(requests)
    while left:
        with start() as ports, asker(ports) as ask:
            while left:
                asked = left.popleft()
                try:
                    found[asked.name] = ask(asked)
                except (OSError, http.client.HTTPException) as error:
                    say(f"no answer to {asked.name!r}: {error}; the server is started again")
                    found[asked.name] = {"status": "no answer: the server ends"}
                    break
    return found
