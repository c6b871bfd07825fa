"""The model repository's calls, for every protocol: index, load and unload, asked of the controller.

Nothing here waits. An answer is handed to a callback, later or at once: the result, or the error.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from changeover.errors import ChangeoverError, DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from changeover.lifecycle.source import is_model_name
from changeover.transport.asking import Ask, result_of
from changeover.transport.control import encode
from changeover.transport.link import CONTROLLER, Frame, Kind
from changeover.transport.page import sealed_memfd

Raw = bytes | memoryview
Told = Callable[[Any], None]
"""Takes the result of a call, or the `ChangeoverError` that it came to."""
Leave = Callable[[], None]
"""To be called when the caller goes away, before it was told: nobody is told then, and what was begun goes on."""

INDEX_SECONDS: Final = 30.0
LOAD_SECONDS: Final = 3600.0
"""A load takes as long as its rollout: a canary with its steps takes minutes."""
_MOST_ASKED: Final = 32
_MOST_BYTES: Final = 64 << 20
_TURN: Final = 1 << 20
"""Bytes copied in one turn of the event loop: about half a millisecond."""
_ANSWER: Final = 64 << 10
_MOST_TEXT: Final = 32 << 10
"""Bytes of a question without its memory: a frame of the link has four times as many."""
_LEFT: Final = object()


class Repository:
    """What this gateway has asked and was not told yet.

    Args:
        send: sends a frame to the supervisor.
        explicit: models may be loaded and unloaded by calls here.
    """

    def __init__(self, send: Callable[[Frame], None], *, explicit: bool) -> None:
        self._send = send
        self._explicit = explicit
        self._asked: set[_Question] = set()
        self._held = 0

    def index(self, *, ready: bool, told: Told) -> Leave:
        """All models and versions that are known; with `ready` those that serve.

        The result is a list of objects with `name`, `version`, `state` and `reason`.

        Raises:
            Overloaded: too much is being asked already.
        """
        return self._ask(Ask("index", ready=ready), [], INDEX_SECONDS, told)

    def load(self, model: str, parameters: Raw | Sequence[tuple[str, Raw]], told: Told) -> Leave:
        """Have a version serve; the result is a list of sentences on what of the parameters has no effect.

        Args:
            model: to be loaded.
            parameters: the body of the call over HTTP (JSON, files in base64); or names and values, where the value
                of `config` is JSON text. They must stay as they are until `told` is called.
            told: takes the result.

        Raises:
            Unavailable: this server loads nothing by calls (`not_explicit`).
            InvalidRequest: no name for a model (`invalid_name`), or too many parameters (`invalid_parameter`).
            Overloaded: too much is being asked already.
        """
        self._check(model)
        if isinstance(parameters, bytes | memoryview):
            ask, values = Ask("load", model, body=len(parameters)), [parameters]
        else:
            sizes = tuple((name, len(value)) for name, value in parameters)
            ask, values = Ask("load", model, parts=sizes), [value for _, value in parameters]
        if self._held and self._held + ask.size > _MOST_BYTES:
            raise Overloaded("the files of other loads are under way here; load again when those have ended")
        return self._ask(ask, values, LOAD_SECONDS, told)

    def unload(self, model: str, told: Told) -> Leave:
        """Have no version serve; the memory is free by then, and the result is a list of sentences on what is odd.

        Raises:
            Unavailable: this server unloads nothing by calls (`not_explicit`).
            InvalidRequest: no name for a model (`invalid_name`).
            Overloaded: too much is being asked already.
        """
        self._check(model)
        return self._ask(Ask("unload", model), [], LOAD_SECONDS, told)

    def stop(self) -> None:
        """The server ends: nobody waits for a rollout that may take minutes."""
        for question in list(self._asked):
            question.give_up(
                Unavailable("the server is stopping; what was begun goes on when it starts again", reason="stopping")
            )

    def _check(self, model: str) -> None:
        if not self._explicit:
            raise Unavailable(
                "explicit model load / unload is not allowed: start the server with --model-control explicit, "
                "or use `changeover push` and the control port",
                reason="not_explicit",
            )
        if not is_model_name(model):
            raise InvalidRequest(f"{model[:200]!r} is no name for a model", reason="invalid_name")

    def _ask(self, ask: Ask, values: Sequence[Raw], patience: float, told: Told) -> Leave:
        if len(self._asked) >= _MOST_ASKED:
            raise Overloaded(f"{_MOST_ASKED} calls of the model repository are under way here; ask again later")
        text = encode(ask)
        if len(text) > _MOST_TEXT:
            raise InvalidRequest("the names of the parameters are too long, or too many", reason="invalid_parameter")

        def ended(outcome: Any) -> None:
            self._asked.discard(question)
            self._held -= ask.size
            if outcome is not _LEFT:
                told(outcome)

        try:
            question = _Question(text, values, self._send, ended)
        except OSError as error:
            raise Overloaded(f"no descriptors for a call are left here ({error.strerror})") from None
        self._asked.add(question)
        self._held += ask.size
        question.start(patience)
        return question.leave


class _Question:
    """One question, from its first copied byte to its answer."""

    def __init__(
        self,
        text: bytes,
        values: Sequence[Raw],
        send: Callable[[Frame], None],
        ended: Told,
    ) -> None:
        self._text = text
        self._send = send
        self._ended = ended
        self._left = [memoryview(value) for value in values if len(value)]
        self._at = 0
        self._data = b""
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        try:
            self._memory = sealed_memfd("changeover-ask", sum(map(len, values))) if values else -1
        except OSError:
            self._ours.close()
            self._theirs.close()
            raise

    def start(self, patience: float) -> None:
        """Copy what goes along, then ask; it ends after `patience` seconds at the latest."""
        self._loop = asyncio.get_running_loop()
        error = DeadlineExceeded(f"no answer within {patience:g} s; what was begun goes on, see `changeover status`")
        self._late = self._loop.call_later(patience, self.give_up, error)
        self._next = self._loop.call_soon(self._copy)

    def _copy(self) -> None:
        """A piece, and the next one when others had their turn."""
        if not self._left:
            self._pose()
            return
        piece = self._left[0][:_TURN]
        try:
            self._at += os.pwrite(self._memory, piece, self._at)
        except OSError as error:
            self._close()
            self._end(Overloaded(f"no memory is left for the files of a load ({error.strerror})"))
            return
        self._left[0] = self._left[0][len(piece) :]
        if not self._left[0]:
            self._left.pop(0)
        self._next = self._loop.call_soon(self._copy)

    def _pose(self) -> None:
        descriptors = [self._theirs.fileno(), *([self._memory] if self._memory >= 0 else [])]
        try:
            self._send(Frame(Kind.ASK, self._text, target=CONTROLLER, fds=descriptors))
        except OSError as error:
            self._end(Overloaded(f"no descriptors for a call are left here ({error.strerror})"))
            return
        finally:
            self._close()
        self._loop.add_reader(self._ours.fileno(), self._hear)

    def _close(self) -> None:
        """Our copies of what goes along: the end of the controller's is the end of the socket."""
        self._left.clear()
        self._theirs.close()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _hear(self) -> None:
        try:
            data = self._ours.recv(_ANSWER)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._data += data
        if not data:
            self._end(_result(self._data))

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        self.give_up(_LEFT)

    def give_up(self, outcome: object) -> None:
        """End without an answer, unless there was one."""
        if self._ours.fileno() >= 0:
            self._close()
            self._end(outcome)

    def _end(self, outcome: Any) -> None:
        self._late.cancel()
        self._next.cancel()
        self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self._ended(outcome)


def _result(data: bytes) -> Any:
    try:
        return result_of(data)
    except ChangeoverError as error:
        return error
