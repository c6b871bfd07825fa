"""`GET /v1/events` of a real server, and its limits."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from changeover.controller.events import stream
from changeover.controller.events.feed import Feed, Wanted
from changeover.controller.patience import PatientProtocol
from changeover.records.journal import Journal
from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.controller.events.listening import Listener, Reader
from tests.rollout.stage import until

SCALE = onnx_models.scale(2).SerializeToString()


def is_decided(event: dict[str, Any]) -> bool:
    """Whether it tells that a rollout has switched, or ended."""
    return event["type"] == "rollout" and event["phase"] in ("watching", "succeeded")


def test_a_rollout_is_told_as_it_goes_on(shared_server: Server) -> None:
    """From its opening to the switch, with the loading between; the same again for who asks from the same place."""
    with Listener(shared_server, "?model=events_told&types=rollout,version") as listener:
        rollout = shared_server.push("events_told", SCALE)["rollout"]
        told = listener.until(is_decided)
    kinds = [(e["type"], e.get("phase") or e["state"]) for e in told]
    assert kinds[0] == ("rollout", "pending")
    assert {("version", "new"), ("rollout", "validating"), ("version", "ready")} <= set(kinds)
    assert {e["rollout"] for e in told if e["type"] == "rollout"} == {rollout}
    numbers = [e["id"] for e in told]
    assert numbers == sorted(set(numbers))
    assert {e["model"] for e in told} == {"events_told"}
    with Listener(shared_server, f"?model=events_told&types=rollout,version&after={numbers[0]}") as again:
        assert again.until(is_decided) == told[1:]


def test_a_reader_goes_on_over_a_new_controller(tmp_path: Path) -> None:
    """By the number of its last event: nothing is missing, nothing comes twice, though the controller was killed."""
    with Server(tmp_path) as server:
        seen: list[dict[str, Any]] = []
        last: int | None = 0
        for version in (1, 2, 3):
            with Listener(server, "?types=rollout", last) as listener:
                server.push("m", onnx_models.scale(version).SerializeToString())
                seen += listener.until(lambda e, v=version: is_decided(e) and e["to"] == str(v))  # type: ignore[misc]
                last = listener.last
                server.named("controller").kill()
                with pytest.raises((EOFError, OSError)):
                    listener.until(lambda _: False)
            server.wait_ready()
            wait_for(lambda: server.control("GET", "/v1/health")["ready"], "the next controller")
        with Listener(server, "?types=rollout&after=0") as whole:
            every = whole.until(lambda e: e["id"] >= seen[-1]["id"])
        assert [e for e in every if e["id"] <= seen[-1]["id"]] == seen


def test_a_sample_comes_each_second(shared_server: Server) -> None:
    """With each version's rate, latency and memory, while there is traffic."""
    shared_server.deploy("events_sample", SCALE)
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    with Listener(shared_server, "?model=events_sample&types=sample") as listener:
        for _ in range(20):
            assert shared_server.infer("events_sample", request).status == 200
        busy = listener.until(lambda e: e["models"]["events_sample"]["versions"]["1"]["requests_per_s"] > 0)[-1]
        later = listener.next()
    assert list(busy["models"]) == ["events_sample"]
    assert later["at"] > busy["at"]
    told = busy["models"]["events_sample"]["versions"]["1"]
    assert (told["role"], told["loading"], told["weight"], told["errors_per_s"]) == ("active", "ready", 10_000, 0)
    assert 0 < told["p50_ms"] <= told["p95_ms"] <= told["p99_ms"]
    assert told["memory_bytes"] > 0
    assert busy["models"]["events_sample"]["rollout"] is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [("?after=-1", "invalid_event_id"), ("?after=x", "invalid_event_id"), ("?types=rollout,x", "invalid_request")],
)
def test_what_cannot_be_asked_for(shared_server: Server, query: str, reason: str) -> None:
    """A sentence at once, and no stream."""
    answer = exchange(shared_server.control_port, "GET", f"/v1/events{query}")
    assert (answer.status, answer.json()["reason"]) == (400, reason)


def test_head_ends(shared_server: Server) -> None:
    """It has the stream's headers and no stream."""
    answer = exchange(shared_server.control_port, "HEAD", "/v1/events")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_only_so_many_listen(tmp_path: Path) -> None:
    """One more is told to come again; when one leaves there is a place."""
    with Server(tmp_path) as server:
        listeners = [Listener(server) for _ in range(stream.MOST)]
        with Listener(server) as one_more:
            assert one_more.answer.status == 503
            assert b"too_many_listeners" in one_more.answer.read()
        listeners.pop().__exit__(None, None, None)
        wait_for(lambda: Listener(server).answer.status == 200, "a place")
        for listener in listeners:
            listener.__exit__(None, None, None)


def listened_by(feed: Feed) -> stream.Stream:
    """All there is."""
    return stream.Stream(feed, stream._told(feed, 0, Wanted()), samples=False)


def test_a_reader_that_takes_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is thrown away; one beside it that reads gets everything, and nothing is kept for the first."""
    monkeypatch.setattr(stream, "PATIENCE", 0.3)

    async def script(journal: Journal) -> None:
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        slow, well, aborted = Reader(), Reader(), asyncio.Event()
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}, stream.ABORT: aborted.set}
        slow.takes.clear()
        first = asyncio.create_task(listened_by(feed)(scope, slow.receive, slow.send))
        second = asyncio.create_task(listened_by(feed)(dict(scope), well.receive, well.send))
        for _ in range(2000):
            await asyncio.to_thread(journal.events.add, "e", None, {"text": "x" * 100})
        await asyncio.wait_for(first, 20)
        assert aborted.is_set()
        assert slow.taken == []
        assert feed.listeners == 1
        await until(lambda: b"".join(well.taken).count(b"data: ") == 2000)
        assert not second.done()
        for task in (second, running):
            task.cancel()
        await asyncio.gather(second, running, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        journal._database._connection.execute("PRAGMA synchronous=OFF")
        asyncio.run(asyncio.wait_for(script(journal), 60))


class Watched(PatientProtocol):
    """Its connections are known."""

    made: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.made.append(transport)
        super().connection_made(transport)


def test_a_socket_that_nobody_reads_holds_little_and_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of events pass it by: what waits in its connection stays small, and then it is thrown away."""
    monkeypatch.setattr(stream, "PATIENCE", 0.5)

    async def script(journal: Journal, sock: socket.socket) -> None:
        feed = Feed(journal)

        async def answer(request: Request) -> Response:
            return await stream.events(feed, request)

        app = Starlette(routes=[Route("/", answer)])
        config = uvicorn.Config(app, http=Watched, log_level="critical", lifespan="off", ws="none")
        tasks = [asyncio.create_task(uvicorn.Server(config).serve(sockets=[sock])), asyncio.create_task(feed.run())]
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, sock.getsockname())
        await asyncio.get_running_loop().sock_sendall(client, b"GET /?after=0 HTTP/1.1\r\nhost: t\r\n\r\n")
        await until(lambda: feed.listeners == 1)
        most = 0
        for _ in range(200):
            await asyncio.to_thread(_add, journal, 100)
            most = max(most, Watched.made[0].get_write_buffer_size())
        await until(lambda: feed.listeners == 0)
        assert Watched.made[0].is_closing()
        assert 0 < most < 1 << 20
        client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal, socket.create_server(("127.0.0.1", 0)) as sock:
        journal._database._connection.execute("PRAGMA synchronous=OFF")
        asyncio.run(asyncio.wait_for(script(journal, sock), 60))


def _add(journal: Journal, number: int) -> None:
    with journal.together():
        for _ in range(number):
            journal.events.add("e", None, {"text": "x" * 200})


def test_silence_is_broken_by_a_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy between would end a connection without a word; events that are not wanted are none."""
    monkeypatch.setattr(stream, "_QUIET", 0.1)

    async def script(journal: Journal) -> list[bytes]:
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        told = stream._told(feed, 0, Wanted(None, frozenset({"alert"})))
        pieces = []
        for number in range(1, 4):
            await asyncio.to_thread(journal.events.add, "rollout")
            if number > 1:  # the first piece is told before anything is read
                await until(lambda: feed._last >= number)  # noqa: B023
            pieces.append(await asyncio.wait_for(anext(told), 20))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return pieces

    with Journal(tmp_path / "journal.db") as journal:
        assert asyncio.run(script(journal)) == [
            b"retry: 1000\n\n",
            b": present\nid: 2\n\n",
            b": keep-alive\nid: 3\n\n",
        ]


def test_events_pruned_under_a_slow_reader_are_told(tmp_path: Path) -> None:
    """A reset in the middle of the stream, then what is left."""

    async def script(journal: Journal) -> list[bytes]:
        for _ in range(500):
            journal.events.add("e")
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        told = stream._told(feed, 1, Wanted())
        assert await anext(told) == b"retry: 1000\n\n"
        assert (await anext(told)).count(b"id: ") == 200
        journal.events.prune(100)
        pieces = [await anext(told), await anext(told)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return pieces

    with Journal(tmp_path / "journal.db") as journal:
        journal._database._connection.execute("PRAGMA synchronous=OFF")
        reset, rest = asyncio.run(asyncio.wait_for(script(journal), 20))
    assert reset.startswith(b'id: 400\ndata: {"type":"reset","model":null,"asked":201,"first":401,"last":500,')
    assert rest.count(b"id: ") == 100


def test_a_reader_may_begin_with_the_newest(tmp_path: Path) -> None:
    """So many as it wants and are there, then the word that the present begins."""

    async def script(journal: Journal) -> None:
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        for newest, first in ((3, 8), (99, 1)):
            told = stream._told(feed, None, Wanted(), newest)
            await anext(told)
            piece = await anext(told)
            assert piece.startswith(b"id: %d\n" % first)
            assert piece.count(b"id: ") == 11 - first
            assert await anext(told) == b": present\nid: 10\n\n"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        _add(journal, 10)
        asyncio.run(asyncio.wait_for(script(journal), 20))


def test_it_ends_when_its_reader_may_listen_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at now and then, also while there is something to tell all the time."""
    monkeypatch.setattr(stream, "_CHECKED", 0.05)
    may = [True, True, False]

    async def script(journal: Journal) -> None:
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        told = stream._while(lambda: may.pop(0), stream._told(feed, 0, Wanted()))
        async with asyncio.timeout(20):
            async for _ in told:
                await asyncio.to_thread(journal.events.add, "e")
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))
    assert may == []
