"""The controller's process: killed and replaced, it knows what it needs."""

from __future__ import annotations

from changeover.testing import wait_for
from changeover.transport.link import MAX_FRAME
from tests import onnx_models
from tests.conftest import Serve

_FILE_THREADS = 4


def test_each_controller_is_a_new_term(serve: Serve) -> None:
    """The journal counts them, and the new one shows the version that serves."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    before = server.control("GET", "/v1/health")["term"]
    controller = server.named("controller")
    controller.kill()
    wait_for(lambda: not controller.is_running(), "its end")
    server.wait_ready()
    assert server.control("GET", "/v1/health")["term"] == before + 1
    assert server.model("m")["active"] == "1"


def test_a_server_of_many_models_gets_its_next_controller(serve: Serve) -> None:
    """What it must be told grows with the models, here with their inputs' names alone beyond a frame; it arrives."""
    server = serve()
    names = [f"{n:0100}" for n in range(100)]
    models = MAX_FRAME // len("".join(names)) + 1
    pushed = [server.push(f"m{n}", onnx_models.total(names).SerializeToString()) for n in range(models)]
    for one in pushed:
        server.settled(one["rollout"])
    controller = server.named("controller")
    controller.kill()
    wait_for(lambda: not controller.is_running(), "its end")
    server.wait_ready()
    wait_for(lambda: [m["active"] for m in server.control("GET", "/v1/models")["models"]] == ["1"] * models, "all")
    assert server.deploy("m7", onnx_models.total(names).SerializeToString())["phase"] == "watching"


def test_an_interrupted_rollout_goes_on(serve: Serve) -> None:
    """The controller dies while a version loads: the next one carries the same rollout to its end."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    server.plan("m", "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}}")
    pushed = server.push("m", onnx_models.slow(100).SerializeToString())
    server.named("worker m/2")
    controller = server.named("controller")
    controller.kill()
    wait_for(lambda: not controller.is_running(), "its end")
    server.wait_ready()
    assert server.settled(pushed["rollout"])["phase"] == "watching"
    shown = server.model("m")
    assert (shown["active"], shown["standby"], shown["rollout"]["id"]) == ("2", "1", pushed["rollout"])


def test_a_first_load_that_was_interrupted_leaves_one_worker(serve: Serve) -> None:
    """The candidate of the dead controller is ended, also for a model that nothing serves yet."""
    server = serve()
    server.plan("m", "runtime: {max_batch: 1}")
    server.push("m", onnx_models.slow(100).SerializeToString())
    server.named("worker m/1")
    controller = server.named("controller")
    controller.kill()
    wait_for(lambda: not controller.is_running(), "its end")
    server.wait_ready()
    wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "the model")
    titles = server.titles()
    assert sum("worker m/1" in title for title in titles) == 1


def test_its_threads_do_not_grow(serve: Serve) -> None:
    """All threads for files are there from the start, however many changeovers follow."""
    server = serve()
    wait_for(lambda: server.named("controller").num_threads() > _FILE_THREADS, "its threads")
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    before = server.named("controller").num_threads()
    for number in range(3, 9):
        server.deploy("m", onnx_models.scale(number).SerializeToString())
    assert server.named("controller").num_threads() == before
