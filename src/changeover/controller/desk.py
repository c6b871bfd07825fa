"""What gateways ask is answered here, each question beside the others (`transport/asking.py`)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import socket
from typing import Any, Final

import msgspec

from changeover.controller.loads import Loads
from changeover.controller.overrides import overrides_of
from changeover.errors import ChangeoverError, Internal, InvalidRequest, Unavailable
from changeover.transport.asking import Ask, answered, read, refused
from changeover.transport.link import Frame

_SENDING: Final = 5.0
"""Seconds that a gateway has to take its answer."""
_FILE: Final = "file:"
log = logging.getLogger("changeover.controller")


class _Body(msgspec.Struct, frozen=True):
    """Of a load over HTTP; what else is in it has no meaning."""

    parameters: dict[str, str | bool | int | float | None] = {}


class Desk:
    """Takes questions from the start, and answers them once there is somebody who can."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Frame] = asyncio.Queue()

    def take(self, message: Frame) -> None:
        """A question has come, with its descriptors."""
        self._asked.put_nowait(message)

    async def run(self, loads: Loads) -> None:
        """Answer, as long as the controller lives."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                message = await self._asked.get()
                if message.fds:
                    tasks.create_task(_answer(message, loads, tasks))
                else:
                    log.error("gateway %d asked without a socket for the answer", message.source)


async def _answer(message: Frame, loads: Loads, tasks: asyncio.TaskGroup) -> None:
    """Answer a question, unless its caller goes away before: then nobody waits, and what was begun goes on."""
    first, *memory = message.fds
    with socket.socket(fileno=first) as answer:
        answer.setblocking(False)
        work, gone = tasks.create_task(_said(message.body, memory, loads)), tasks.create_task(_end_of(answer))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel() if gone.done() else gone.cancel()
        await asyncio.wait({work, gone})
        for descriptor in memory:
            os.close(descriptor)
        if not work.cancelled():
            await _send(answer, work.result())


async def _end_of(answer: socket.socket) -> None:
    """Until the gateway has closed its end; it never says anything there."""
    try:
        await asyncio.get_running_loop().sock_recv(answer, 1)
    except OSError:
        return


async def _send(answer: socket.socket, data: bytes) -> None:
    try:
        async with asyncio.timeout(_SENDING):
            await asyncio.get_running_loop().sock_sendall(answer, data)
    except (OSError, TimeoutError) as error:
        log.info("an answer was not taken: %r", error)


async def _said(body: bytes, descriptors: list[int], loads: Loads) -> bytes:
    """The answer to a question, whatever comes of it."""
    try:
        return answered(await _done(msgspec.json.decode(body, type=Ask), descriptors, loads))
    except ChangeoverError as error:
        return refused(_told(error))
    except Exception:  # a defect in one answer must not end the control plane
        log.exception("a gateway's question")
        return refused(Internal("a defect in the controller"))


def _told(error: ChangeoverError) -> ChangeoverError:
    """A version that is refused is the caller's to mend, and a disk that is sick is no defect."""
    if error.fault == "model":
        return InvalidRequest(error.message, reason=error.reason)
    if isinstance(error, Internal) and error.reason != Internal.default_reason:
        return Unavailable(error.message, reason=error.reason)
    return error


async def _done(ask: Ask, descriptors: list[int], loads: Loads) -> Any:
    if ask.what == "index":
        return await loads.index(ready=ask.ready)
    if ask.what == "unload":
        return await loads.unload(ask.model)
    parameters = await asyncio.to_thread(parameters_of, ask, descriptors[0]) if descriptors else {}
    return await loads.load(ask.model, overrides_of(ask.model, parameters))


def parameters_of(ask: Ask, memory: int) -> dict[str, object]:
    """A load's parameters as `overrides_of` takes them, from either form.

    Raises:
        InvalidRequest: the body is no JSON of a load (`malformed_json`), or a parameter is wrong.
    """
    parts = read(ask, memory)
    if not ask.body:
        return {name: value.decode(errors="replace") if name == "config" else value for name, value in parts}
    ((_, text),) = parts
    try:
        body = msgspec.json.decode(text, type=_Body)
    except (msgspec.MsgspecError, RecursionError) as error:
        what = "the body of a load is {'parameters': {…}} in JSON"
        raise InvalidRequest(f"{what}: {error}", reason="malformed_json") from None
    return {name: _file(name, value) if name.startswith(_FILE) else value for name, value in body.parameters.items()}


def _file(name: str, value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidRequest(f"parameter {name!r}: a file's value is its bytes in base64", reason="invalid_parameter")
