"""What a gateway asks the controller: the test is the supervisor's end of the link, and the controller."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from changeover.errors import ChangeoverError, Conflict, InvalidRequest, Overloaded, Unavailable
from changeover.gateway import repository as module
from changeover.gateway.repository import Repository
from changeover.transport.asking import Ask, answered, read, refused
from changeover.transport.link import CONTROLLER, Frame, Kind
from tests.descriptors import held
from tests.rollout.stage import until


class Controller:
    """Takes questions over a link that copies descriptors, as the real one does."""

    def __init__(self) -> None:
        self.asked: list[tuple[Ask, list[int]]] = []
        self.told: list[Any] = []
        self.repository = Repository(self.send, explicit=True)

    def send(self, message: Frame) -> None:
        assert (message.kind, message.target) == (Kind.ASK, CONTROLLER)
        ask = msgspec.json.decode(message.body, type=Ask)
        self.asked.append((ask, [os.dup(fd) for fd in message.fds]))

    def drop(self) -> None:
        """Die."""
        for _, descriptors in self.asked:
            for fd in descriptors:
                os.close(fd)

    async def question(self, number: int = 0) -> tuple[Ask, list[int]]:
        await until(lambda: len(self.asked) > number)
        return self.asked[number]

    async def outcome(self) -> Any:
        await until(lambda: bool(self.told))
        return self.told[-1]

    def answer(self, data: bytes, number: int = 0) -> None:
        _, descriptors = self.asked[number]
        with socket.socket(fileno=descriptors[0]) as sock:
            sock.setblocking(True)
            sock.sendall(data)
        for fd in descriptors[1:]:
            os.close(fd)


def play(script: Callable[[Controller], Awaitable[None]]) -> Controller:
    """Run a script; no descriptor is left at its end."""
    before = held()

    async def scenario() -> Controller:
        here = Controller()
        await script(here)
        return here

    here = asyncio.run(scenario())
    assert here.repository._asked == set()
    assert here.repository._held == 0
    assert not held() - before
    return here


def test_an_index_is_asked_for_and_told() -> None:
    """In pieces too, for a list of all models is long."""
    rows = [{"name": f"m{n}", "version": "1", "state": "READY", "reason": ""} for n in range(5000)]

    async def script(here: Controller) -> None:
        here.repository.index(ready=True, told=here.told.append)
        ask, descriptors = await here.question()
        assert (ask, len(descriptors)) == (Ask("index", ready=True), 1)
        answering = asyncio.get_running_loop().run_in_executor(None, here.answer, answered(rows))
        assert await here.outcome() == rows
        await answering

    play(script)


def test_the_files_of_a_load_lie_in_memory() -> None:
    """Copied piece by piece, by whichever protocol they came."""
    body = bytes(range(256)) * (3 << 12)

    async def script(here: Controller) -> None:
        here.repository.load("m", memoryview(body), here.told.append)
        here.repository.load("m", [("config", b"{}"), ("file:1/model.onnx", memoryview(body))], here.told.append)
        for number, parts in enumerate([[("", body)], [("config", b"{}"), ("file:1/model.onnx", body)]]):
            ask, (_, memory) = await here.question(number)
            assert read(ask, memory) == parts
            here.answer(answered(["a warning"]), number)
        await until(lambda: here.told == [["a warning"], ["a warning"]])

    play(script)


def test_a_load_without_anything_needs_no_memory() -> None:
    """Only the socket goes along."""

    async def script(here: Controller) -> None:
        here.repository.load("m", [], here.told.append)
        ask, descriptors = await here.question()
        assert (ask.size, len(descriptors)) == (0, 1)
        here.answer(refused(Conflict("later", reason="rollout_paused")))
        assert (await here.outcome()).reason == "rollout_paused"

    play(script)


def test_an_empty_file_is_a_file() -> None:
    """It arrives as one, to be refused by those who know why."""

    async def script(here: Controller) -> None:
        here.repository.load("m", [("file:1/model.onnx", b"")], here.told.append)
        ask, (_, memory) = await here.question()
        assert read(ask, memory) == [("file:1/model.onnx", b"")]
        here.answer(answered([]))
        assert await here.outcome() == []

    play(script)


@pytest.mark.parametrize("said", [b"", answered([1, 2])[:5]])
def test_a_controller_that_dies(said: bytes) -> None:
    """Its end closes the socket, so the caller hears it at once."""

    async def script(here: Controller) -> None:
        here.repository.unload("m", here.told.append)
        await here.question()
        here.answer(said)
        outcome = await here.outcome()
        assert (type(outcome), outcome.reason) == (Unavailable, "controller_away")

    play(script)


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that is silent for too long is no answer either."""
    monkeypatch.setattr(module, "INDEX_SECONDS", 0.02)

    async def script(here: Controller) -> None:
        here.repository.index(ready=False, told=here.told.append)
        assert (await here.outcome()).reason == "deadline_exceeded"
        here.drop()

    play(script)


def test_a_server_that_stops_keeps_nobody_waiting() -> None:
    """All that is asked ends, with the reason."""

    async def script(here: Controller) -> None:
        here.repository.unload("m", here.told.append)
        here.repository.load("n", b"x" * (2 << 20), here.told.append)
        await here.question()
        here.repository.stop()
        assert [error.reason for error in here.told] == ["stopping", "stopping"]
        here.drop()

    play(script)


@pytest.mark.parametrize("copied", [True, False])
def test_a_caller_that_goes_away_is_told_nothing(copied: bool) -> None:
    """Before the question was asked, or after; leaving twice is leaving once."""

    async def script(here: Controller) -> None:
        leave = here.repository.load("m", b"x" * (3 << 20), here.told.append)
        if copied:
            _, (sock, memory) = await here.question()
            leave()
            assert os.read(sock, 1) == b""
            os.close(sock)
            os.close(memory)
        leave()
        leave()
        await asyncio.sleep(0)
        assert (here.told, len(here.asked)) == ([], int(copied))

    play(script)


def test_what_may_be_asked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many questions and so many bytes; a first load may be as large as a body."""
    monkeypatch.setattr(module, "_MOST_ASKED", 2)
    monkeypatch.setattr(module, "_MOST_BYTES", 100)

    async def script(here: Controller) -> None:
        refusals = 0
        leaves = [here.repository.load("m", b"x" * 200, here.told.append)]
        for call in (
            lambda: here.repository.load("n", b"x", here.told.append),
            lambda: here.repository.unload("n", here.told.append),
            lambda: here.repository.unload("o", here.told.append),
        ):
            try:
                leaves.append(call())
            except Overloaded:
                refusals += 1
        assert (refusals, len(leaves)) == (2, 2)
        for leave in leaves:
            leave()

    play(script)


def test_what_cannot_be_asked() -> None:
    """A name that no model can have, and names that would not fit a frame of the link: the caller hears it here."""

    async def script(here: Controller) -> None:
        many = [(f"file:1/{n}{'x' * 100}", b"") for n in range(1000)]
        for call, reason in (
            (lambda: here.repository.unload("a/b", here.told.append), "invalid_name"),
            (lambda: here.repository.load("\udc80", [], here.told.append), "invalid_name"),
            (lambda: here.repository.load("m", many, here.told.append), "invalid_parameter"),
        ):
            with pytest.raises(InvalidRequest) as caught:
                call()
            assert caught.value.reason == reason
        assert here.asked == []

    play(script)


def test_loads_are_for_explicit_servers() -> None:
    """Another one says so before anything is asked; its index answers."""

    async def script(here: Controller) -> None:
        closed = Repository(here.send, explicit=False)
        for call in (lambda: closed.load("m", [], here.told.append), lambda: closed.unload("m", here.told.append)):
            with pytest.raises(ChangeoverError) as caught:
                call()
            assert caught.value.reason == "not_explicit"
        assert here.asked == []
        closed.index(ready=False, told=here.told.append)
        await here.question()
        here.answer(answered([]))
        assert await here.outcome() == []

    play(script)
