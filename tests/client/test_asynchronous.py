"""`AsyncClient` against real servers: the same as `Client`, many calls at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from changeover import AsyncClient
from changeover.client.ask import ConnectionLost, Unreachable
from changeover.errors import ChangeoverError, DeadlineExceeded, InvalidRequest, NotFound, Overloaded
from changeover.testing import Server
from tests import onnx_models
from tests.client.crooked import BREAK, SILENCE, Crooked, nobody, reply

X = np.array([[1, 2, 3, 4]], np.float32)
GOOD = reply(200, b'{"live": true}')


def with_client(use: Callable[[AsyncClient], Awaitable[None]], url: str, control: str, timeout: float = 30.0) -> None:
    """Run a check with a client in a loop of its own."""

    async def run() -> None:
        async with AsyncClient(url, control, timeout) as client:
            await use(client)

    asyncio.run(run())


def with_server(use: Callable[[AsyncClient], Awaitable[None]], server: Server, timeout: float = 30.0) -> None:
    with_client(use, f"http://127.0.0.1:{server.http_port}", f"http://127.0.0.1:{server.control_port}", timeout)


def test_many_at_a_time(shared_server: Server) -> None:
    """Two hundred inferences together, each with its own values; texts are refused where the model takes numbers."""

    async def use(client: AsyncClient) -> None:
        found = await asyncio.gather(*(client.infer("double", {"x": X * i}, outputs=["y"]) for i in range(200)))
        assert [one["y"].tolist() for one in found] == [(2 * X * i).tolist() for i in range(200)]
        assert await client.ready("double", "1")
        assert (await client.metadata("double"))["name"] == "double"
        with pytest.raises(InvalidRequest) as wrong:
            await client.infer("double", {"x": np.array(["a"], object)})
        assert (wrong.value.status, wrong.value.reason) == (400, "datatype_mismatch")
        with pytest.raises(NotFound):
            await client.ready("nobody")

    with_server(use, shared_server)


def test_a_changeover_under_load_loses_nothing(shared_server: Server) -> None:
    """Tasks that share a client see no error while a version takes over, and each answer is its version's."""
    versions: list[str] = []
    plan = {"rollout": {"strategy": "instant"}}

    async def use(client: AsyncClient) -> None:
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                found = await client.infer("awaited", {"x": X})
                assert found["y"].tolist() == ((1 + int(found.version)) * X).tolist()
                versions.append(found.version)

        async def deploy(factor: float) -> None:
            pushed = await client.push("awaited", onnx_models.scale(factor).SerializeToString(), plan=plan)
            assert (await client.wait("awaited", pushed["rollout"]))["phase"] in ("watching", "succeeded")

        await deploy(2)
        async with asyncio.TaskGroup() as tasks:  # an error in one of them ends the test
            for _ in range(8):
                tasks.create_task(ask())
            await deploy(3)
            async with asyncio.timeout(60):
                while versions[-20:] != ["2"] * 20:  # noqa: ASYNC110 - the answers come from tasks of this loop
                    await asyncio.sleep(0.01)
            stop.set()

    with_server(use, shared_server, timeout=60.0)
    assert set(versions) == {"1", "2"}


def test_the_verbs_are_awaited(shared_server: Server) -> None:
    """Each gives what its twin in `Client` returns."""

    async def use(client: AsyncClient) -> None:
        assert "double" in [one["name"] for one in await client.models()]
        rollout = await client.status("double")
        assert (await client.history("double"))[-1]["model"] == "double"
        assert (await client.wait("double"))["id"] == rollout["id"]
        with pytest.raises(ChangeoverError) as refused:
            await client.promote("double")
        assert refused.value.reason == "no_rollout"

    with_server(use, shared_server)


def test_retries() -> None:
    """A full queue is asked again when it says, a broken connection once, a verb never."""
    full, later = (reply(503, b'{"error": "full", "reason": "queue_full"}', retry_after=s) for s in ("1", "60"))

    async def patient(client: AsyncClient) -> None:
        begun = time.monotonic()
        assert await client.metadata() == {"live": True}
        assert time.monotonic() - begun >= 1.0

    async def hurried(client: AsyncClient) -> None:
        with pytest.raises(Overloaded):
            await client.infer("m", {"x": X}, timeout=50.0)

    async def unlucky(client: AsyncClient) -> None:
        with pytest.raises(ConnectionLost):
            await client.undo("m")
        assert len(server.seen) == 1
        with pytest.raises(ConnectionLost):
            await client.infer("m", {"x": X}, timeout=10.0)
        assert len(server.seen) == 3

    with Crooked(full, GOOD) as server:
        with_client(patient, server.url, server.url)
    with Crooked(later) as server:
        with_client(hurried, server.url, server.url)
        assert len(server.seen) == 1
    with Crooked(BREAK) as server:
        with_client(unlucky, server.url, server.url)


def test_nobody_there_and_nobody_answering() -> None:
    """Both end with the caller's time."""

    async def use(client: AsyncClient) -> None:
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.3 s"):
            await client.infer("m", {"x": X}, timeout=0.3)
        with pytest.raises(Unreachable):
            await client.undo("m")

    with nobody() as control, Crooked(SILENCE) as server:
        with_client(use, server.url, control, timeout=0.5)
