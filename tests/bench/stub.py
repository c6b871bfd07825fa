"""A small real HTTP server that speaks the Open Inference Protocol and can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

INPUTS = np.random.default_rng(5).random((16, 3, 4), dtype=np.float32) + 1


def right_scores(version: str) -> np.ndarray:
    """What a version answers: the first four inputs of each sample times its number."""
    return INPUTS.reshape(len(INPUTS), -1)[:, :4] * np.float32(version)


EXPECTED = {version: right_scores(version) for version in ("1", "2", "3")}


@dataclass(slots=True)
class Reply:
    """How to answer one request.

    Attributes:
        version: what the answer says.
        values_of: whose values it carries; None: those of `version`.
        action: `reset` and `close` end the connection without an answer, `silent` never answers.
        delay: seconds before the answer.
        last: say `connection: close` and close.
    """

    version: str = "1"
    values_of: str | None = None
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    action: Literal["answer", "reset", "close", "silent", "garbage"] = "answer"
    delay: float = 0.0
    last: bool = False
    epoch: int = -1
    nan: bool = False


@dataclass(slots=True)
class Request:
    """What arrived: its number (from 0), head fields, and the one input."""

    number: int
    path: str
    fields: dict[str, str]
    values: np.ndarray
    binary: bool


class Stub:
    """`with Stub(script) as stub:` listens on `stub.port` and asks `script` for each reply."""

    def __init__(
        self, script: Callable[[Request], Reply] = lambda _: Reply(), metadata: dict[str, Any] | None = None
    ) -> None:
        self.script = script
        self.metadata = metadata
        self.requests: list[Request] = []
        self.connections = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Stub:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)  # lets the aborted connections' handlers end

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        request = await self._read(reader)
        if request is None:
            writer.write(respond(200, json.dumps(self.metadata).encode(), ""))
            return True
        self.requests.append(request)
        reply = self.script(request)
        await asyncio.sleep(reply.delay)
        if reply.action == "silent":
            await self._stop.wait()
        if reply.action == "reset":
            writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: RST
            writer.transport.abort()
        if reply.action != "answer":
            writer.write(b"nonsense\r\n\r\n" if reply.action == "garbage" else b"")
            return False
        writer.write(answer(request, reply))
        await writer.drain()
        return not reply.last and request.fields.get("connection") != "close"

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        """Read one request; None is one for the metadata."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        if head[0].startswith("GET"):
            return None
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        length = fields.get("inference-header-content-length")
        document = json.loads(body[: int(length)] if length else body)
        tensor = document["inputs"][0]
        if length:
            values = np.frombuffer(body[int(length) :], np.float32).reshape(tensor["shape"])
        else:
            values = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        return Request(len(self.requests), head[0].split(" ")[1], fields, values, bool(length))


def answer(request: Request, reply: Reply) -> bytes:
    """Return the bytes of a complete answer."""
    if reply.status != 200:
        return respond(reply.status, json.dumps(reply.error).encode(), "")
    scores = request.values.reshape(-1)[:4] * np.float32(reply.values_of or reply.version)
    scores = np.full_like(scores, np.nan) if reply.nan else scores
    output: dict[str, Any] = {"name": "scores", "datatype": "FP32", "shape": [1, len(scores)]}
    raw = scores.tobytes() if request.binary else b""
    output |= {"parameters": {"binary_data_size": len(raw)}} if request.binary else {"data": scores.tolist()}
    document = json.dumps({"model_name": "m", "model_version": reply.version, "outputs": [output]}).encode()
    extra = f"inference-header-content-length: {len(document)}\r\n" if request.binary else ""
    extra += f"changeover-epoch: {reply.epoch}\r\n" if reply.epoch >= 0 else ""
    extra += "connection: close\r\n" if reply.last else ""
    return respond(200, document + raw, extra)


def respond(status: int, body: bytes, extra: str) -> bytes:
    """Return an answer's bytes with a content-length."""
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body
