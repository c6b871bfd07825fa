"""`Client` against real servers: answers, errors, retries, rollouts, restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from changeover import Client
from changeover.client.ask import ConnectionLost, Unreachable
from changeover.errors import ChangeoverError, Conflict, DeadlineExceeded, InvalidRequest, NotFound, Overloaded
from changeover.tensors import Datatype
from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.client.crooked import BREAK, SILENCE, Crooked, nobody, reply
from tests.conftest import Serve

X = np.array([[1, 2, 3, 4]], np.float32)
GOOD = reply(200, b'{"live": true}')


def client_of(server: Server, timeout: float = 30.0) -> Client:
    return Client(f"http://127.0.0.1:{server.http_port}", f"http://127.0.0.1:{server.control_port}", timeout)


@pytest.fixture(scope="module")
def client(shared_server: Server) -> Iterator[Client]:
    with client_of(shared_server) as made:
        yield made


def test_arrays_in_arrays_out(client: Client) -> None:
    """With the version that answered, the outputs asked for and the id."""
    found = client.infer("double", {"x": X}, outputs=["y"], id="q", key="k", timeout=20.0)
    assert found["y"].tolist() == (2 * X).tolist()
    assert (found.model, found.version, found.id) == ("double", "1", "q")
    assert found.epoch > 0
    assert client.infer("double", {"x": X}, version="active")["y"].tolist() == (2 * X).tolist()


def test_texts_go_and_come(client: Client) -> None:
    """As object arrays of `bytes`, whatever they were sent as."""
    model = onnx_models.identity(Datatype.BYTES, ("N",)).SerializeToString()
    if not any(one["name"] == "texts" for one in client.models()):
        pushed = client.push("texts", model, plan={"rollout": {"strategy": "instant"}})
        ended = client.wait("texts", pushed["rollout"])
        assert ended["phase"] == "succeeded", ended
    found = client.infer("texts", {"x": np.array(["ä", b"b", ""], object)})["y"]
    assert (found.dtype, found.tolist()) == (np.dtype(object), ["ä".encode(), b"b", b""])


def test_ready_and_metadata(client: Client) -> None:
    """Of the server, a model and a version."""
    assert client.ready()
    assert client.ready("double")
    assert client.ready("double", "1")
    assert client.metadata()["name"] == "changeover"
    assert client.metadata("double", "1")["inputs"][0]["name"] == "x"
    with pytest.raises(NotFound):
        client.ready("nobody")


def test_what_the_server_says_no_to(client: Client) -> None:
    """Class, status, reason, message."""
    with pytest.raises(InvalidRequest) as wrong:
        client.infer("double", {"x": X.astype(np.float64)})
    assert (wrong.value.status, wrong.value.reason) == (400, "datatype_mismatch")
    assert "takes FP32" in wrong.value.message
    with pytest.raises(NotFound) as missing:
        client.infer("double", {"x": X}, version="77")
    assert (missing.value.status, missing.value.reason) == (404, "version_not_found")
    with pytest.raises(Conflict) as late:
        client.pause("double")
    assert late.value.reason == "no_rollout"


def test_a_rollout_by_its_verbs(client: Client) -> None:
    """Pushed, paused, resumed, weighed, promoted, explained, undone; history and certificate tell."""
    plan = {"rollout": {"steps": ["5%", "50%"], "hold": "90s", "undo_window": "60s"}}
    first = client.push("steered", onnx_models.scale(2).SerializeToString(), plan=plan)
    assert client.wait("steered", first["rollout"])["phase"] in ("watching", "succeeded")
    second = client.push("steered", onnx_models.scale(3).SerializeToString(), "7", plan)
    assert second["version"] == "7"
    wait_for(lambda: client.status("steered")["phase"] == "progressing", "the rollout under way")
    assert client.pause("steered")["phase"] == "paused"
    assert client.resume("steered")["phase"] == "progressing"
    assert client.set_weight("steered", "25%")["weight"]["set"] == 2500
    seen: list[str] = []
    client.promote("steered")
    done = client.wait("steered", timeout=60.0, on_change=lambda r: seen.append(r["phase"]))
    assert done["phase"] == seen[-1] == "watching"
    assert client.infer("steered", {"x": X}).version == "7"
    assert client.explain(done["id"])["sentences"]
    client.undo("steered")
    assert client.wait("steered")["phase"] == "rolled_back"
    assert client.infer("steered", {"x": X}).version == "1"
    assert [one["id"] for one in client.history("steered")] == [done["id"], first["rollout"]]
    assert wait_for(lambda: _certificate(client, done["id"]), "the certificate")["rollout"] == done["id"]
    third = client.start("steered", "7")
    wait_for(lambda: client.rollout(third["id"])["phase"] == "progressing", "the rollout under way again")
    with pytest.raises(DeadlineExceeded) as late:
        client.wait("steered", timeout=0.3)
    assert late.value.reason == "wait_timeout"
    client.abort("steered")
    assert client.wait("steered", third["id"])["phase"] == "rolled_back"


def _certificate(client: Client, rollout: str) -> dict[str, object] | None:
    try:
        return client.certificate(rollout)
    except NotFound:
        return None


def test_a_changeover_under_load_and_a_restart_lose_nothing(serve: Serve) -> None:
    """Threads that share a client see no error while a version takes over, and none while the server starts anew."""
    server = serve(lame_duck=0.5)
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    failed: list[BaseException] = []
    versions: list[str] = []
    stop = threading.Event()
    with client_of(server, timeout=60.0) as client:

        def ask() -> None:
            while not stop.is_set():
                try:
                    found = client.infer("m", {"x": X})
                    assert found["y"].tolist() == ((1 + int(found.version)) * X).tolist()
                    versions.append(found.version)
                except (ChangeoverError, AssertionError) as error:
                    failed.append(error)
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(versions) > 50 or failed, "traffic")
            pushed = client.push("m", onnx_models.scale(3).SerializeToString())
            assert client.wait("m", pushed["rollout"])["phase"] in ("watching", "succeeded")
            wait_for(lambda: versions[-20:] == ["2"] * 20 or failed, "the new version")
            server._settings |= {"http_port": server.http_port, "control_port": server.control_port}
            assert server.stop() == 0
            count = len(versions)
            server.start()
            wait_for(lambda: len(versions) > count + 50 or failed, "traffic after the restart")
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
    assert failed == []
    assert set(versions) == {"1", "2"}


def test_a_full_queue_is_asked_again_when_it_says() -> None:
    """After its `Retry-After`, within the deadline; without time for that the error comes at once."""
    full, later = (reply(503, b'{"error": "full", "reason": "queue_full"}', retry_after=s) for s in ("1", "60"))
    with Crooked(full, GOOD) as server, Client(server.url, timeout=20.0) as client:
        begun = time.monotonic()
        assert client.metadata() == {"live": True}
        assert time.monotonic() - begun >= 1.0
        assert len(server.seen) == 2
    with Crooked(later) as server, Client(server.url, timeout=50.0) as client:
        with pytest.raises(Overloaded) as caught:
            client.infer("m", {"x": X})
        assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (503, "queue_full", 60)
        assert len(server.seen) == 1


def test_a_broken_connection() -> None:
    """A question is asked once more, a verb is not; the server was told the time that is left."""
    with Crooked(BREAK, GOOD) as server, Client(server.url, server.url) as client:
        assert client.metadata() == {"live": True}
        assert len(server.seen) == 2
    with Crooked(BREAK) as server, Client(server.url, server.url) as client:
        with pytest.raises(ConnectionLost):
            client.undo("m")
        assert len(server.seen) == 1
        with pytest.raises(ConnectionLost):
            client.infer("m", {"x": X}, timeout=100.0)
        assert len(server.seen) == 3
        assert 90.0 < float(server.seen[1].lower().split(b"changeover-timeout: ")[1].split(b"\r\n")[0]) <= 100.0


def test_nobody_there() -> None:
    """Tried until the deadline, then told."""
    begun = time.monotonic()
    with nobody() as url, Client(url, timeout=0.5) as client, pytest.raises(Unreachable) as caught:
        client.metadata()
    assert not isinstance(caught.value, ConnectionLost)
    assert 0.2 < time.monotonic() - begun < 10


def test_a_silent_server() -> None:
    """The caller's time counts."""
    with Crooked(SILENCE) as server, Client(server.url) as client:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            client.infer("m", {"x": X}, timeout=0.3)
        assert 0.3 <= time.monotonic() - begun < 10
        assert (caught.value.status, caught.value.message) == (None, "no answer within 0.3 s")
