"""Questions of gateways and their answers, over real sockets, with a fleet in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from changeover.controller.desk import Desk, parameters_of
from changeover.controller.service import Service
from changeover.errors import ChangeoverError, Internal, InvalidRequest, Unavailable
from changeover.lifecycle.source import PLAN_FILE
from changeover.transport.asking import Ask, result_of
from changeover.transport.control import encode
from changeover.transport.link import Frame, Kind
from changeover.transport.page import sealed_memfd
from tests.controller.service_house import MODEL_FILE, Client, House
from tests.descriptors import held
from tests.rollout.stage import MODEL, PATIENCE, until


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, model_control="explicit")


def memory_of(data: bytes) -> int:
    """What goes along with a question."""
    fd = sealed_memfd("test", len(data))
    os.pwrite(fd, data, 0)
    return fd


class Gateway:
    """The other end of a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def pose(self, ask: bytes, data: bytes | None = None) -> socket.socket:
        ours, theirs = socket.socketpair()
        memory = [memory_of(data)] if data is not None else []
        self.desk.take(Frame(Kind.ASK, ask, source=3, fds=[theirs.detach(), *memory]))
        ours.setblocking(False)
        return ours

    async def answer(self, sock: socket.socket) -> Any:
        """A result, or the error."""
        data = b""
        with sock:
            while piece := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 4096), PATIENCE):
                data += piece
        try:
            return result_of(data)
        except ChangeoverError as error:
            return error

    async def ask(self, ask: Ask, data: bytes | None = None) -> Any:
        return await self.answer(self.pose(encode(ask), data))


async def at_work(service: Service) -> tuple[Gateway, asyncio.Task[None]]:
    """A desk that answers."""
    desk = Desk()
    return Gateway(desk), asyncio.create_task(desk.run(service.loads))


def test_a_model_is_loaded_shown_and_unloaded(house: House) -> None:
    """Each question has its answer, in the order of the work."""

    async def script(service: Service, _: Client) -> None:
        gateway, task = await at_work(service)
        assert await gateway.ask(Ask("load", MODEL)) == []
        rows = await gateway.ask(Ask("index", ready=True))
        assert rows == [{"name": MODEL, "version": "1", "state": "READY"}]
        assert await gateway.ask(Ask("unload", MODEL)) == []
        assert await gateway.ask(Ask("index", ready=True)) == []
        (odd,) = await gateway.ask(Ask("unload", "none"))
        assert "unknown model 'none'" in odd
        refused = await gateway.ask(Ask("load", "none"))
        assert (type(refused).__name__, refused.reason) == ("NotFound", "model_not_found")
        body = json.dumps({"parameters": {"file:4/model.onnx": base64.b64encode(MODEL_FILE).decode()}}).encode()
        assert await gateway.ask(Ask("load", MODEL, body=len(body)), body) == []
        assert service.drivers.serving() == [MODEL]
        operators = lambda: [(e.model, e.body["asked"]) for e in house.journal.events.after() if e.kind == "operator"]  # noqa: E731
        asked = [(MODEL, "load"), (MODEL, "unload"), ("none", "unload"), ("none", "load"), (MODEL, "load")]
        await until(lambda: operators() == asked)
        assert not task.done()
        task.cancel()

    house.put(1)
    house.run(script)


def test_nonsense_and_defects_end_one_question(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk goes on, and nothing of what came with them stays open."""

    async def script(service: Service, _: Client) -> None:
        gateway, task = await at_work(service)
        before = held()
        gateway.desk.take(Frame(Kind.ASK, encode(Ask("index"))))
        for nonsense in (b"", b"{}", b'{"what": "drop"}'):
            assert isinstance(await gateway.answer(gateway.pose(nonsense, b"x")), Internal)
        wrong = await gateway.ask(Ask("load", MODEL, body=5), b"1234")
        assert (type(wrong), wrong.reason) == (Unavailable, "ask_malformed")
        wrong = await gateway.ask(Ask("load", MODEL, parts=(("file:1/../up", 1),)), b"x")
        assert (type(wrong), wrong.reason) == (InvalidRequest, "artifact_name")
        monkeypatch.setattr(service.loads, "index", None)
        assert isinstance(await gateway.ask(Ask("index")), Internal)
        assert not held() - before
        assert not task.done()
        task.cancel()

    house.run(script)


def test_a_caller_that_goes_away_is_not_waited_for(house: House) -> None:
    """What it began goes on."""

    async def script(service: Service, _: Client) -> None:
        gateway, task = await at_work(service)
        await gateway.ask(Ask("load", MODEL))
        house.put(2, MODEL_FILE + b"\x12\x00")
        (house.repository / MODEL / PLAN_FILE).write_text("rollout: {steps: [50%]}\n")
        before = len(asyncio.all_tasks())
        sock = gateway.pose(encode(Ask("load", MODEL)))
        await until(lambda: service.drivers.known(MODEL).candidate is not None)
        sock.close()
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert service.drivers.known(MODEL).candidate is not None
        task.cancel()

    house.put(1)
    house.run(script)


def test_both_forms_of_parameters() -> None:
    """Files in base64 in JSON, and as they are."""
    body = json.dumps({"parameters": {"config": "{}", "file:1/model.onnx": "AAE="}, "other": 1}).encode()
    parts = b"{}\x00\x01"
    forms = [
        (Ask("load", "m", body=len(body)), body),
        (Ask("load", "m", parts=(("config", 2), ("file:1/model.onnx", 2))), parts),
    ]
    for ask, data in forms:
        memory = memory_of(data)
        assert parameters_of(ask, memory) == {"config": "{}", "file:1/model.onnx": b"\x00\x01"}
        os.close(memory)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "malformed_json"),
        (b"[]", "malformed_json"),
        (b'{"parameters": {"config": {}}}', "malformed_json"),
        (b'{"parameters": ' + b"[" * 50_000, "malformed_json"),
        (b'{"parameters": {"file:1/model.onnx": 5}}', "invalid_parameter"),
        (b'{"parameters": {"file:1/model.onnx": "A"}}', "invalid_parameter"),
        (b'{"parameters": {"file:1/model.onnx": "\xc3\xa4"}}', "invalid_parameter"),
    ],
)
def test_bodies_that_make_no_sense(body: bytes, reason: str) -> None:
    """Each with its reason."""
    memory = memory_of(body)
    with pytest.raises(InvalidRequest) as caught:
        parameters_of(Ask("load", "m", body=len(body)), memory)
    os.close(memory)
    assert caught.value.reason == reason
