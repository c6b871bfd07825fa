"""The optimised graph that a prover made is what all workers of a version load, after a restart too."""

from __future__ import annotations

from pathlib import Path

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.runtime import weighty_models


def entries(server: Server) -> dict[str, tuple[int, int]]:
    """The graphs in the cache, each with its file's number and when it was last written or used."""
    found = {}
    for path in (server.state / "cache").glob("*.onnx"):
        status = path.stat()
        found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


def test_one_entry_serves_all_workers_and_restarts(tmp_path: Path) -> None:
    """It is made once, used by the first worker, by one that replaces a killed one, and by one of the next server."""
    with Server(tmp_path) as server:
        assert server.deploy("m", onnx_models.scale(2).SerializeToString())["phase"] == "succeeded"
        ((name, (number, used)),) = entries(server).items()
        server.named("worker m/1").kill()
        wait_for(lambda: entries(server)[name][1] > used, "the replacement to take the entry")
        wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "the replacement")
        again = entries(server)[name][1]
        assert server.stop() == 0
        server.start()
        server.wait_ready()
        ((same, (unmoved, last)),) = entries(server).items()
        assert (same, unmoved) == (name, number)
        assert last > again


def mapped(server: Server, version: int) -> set[tuple[str, str]]:
    """Files of weights that the worker of a version maps, by name and inode."""
    pid = server.named(f"worker m/{version}").pid
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {(Path(line[5]).name, line[4]) for line in lines if len(line) == 6 and line[5].endswith(".weights")}


def test_two_versions_map_the_weights_that_they_share(serve: Serve) -> None:
    """Nine layers of ten: active and standby have nine files in common, which lie where no prover writes."""
    server = serve()
    for last, phase in ((9, "succeeded"), (77, "watching")):
        made = weighty_models.layers(*range(9), last)
        assert server.deploy("m", made.SerializeToString())["phase"] == phase
    active, standby = mapped(server, 2), mapped(server, 1)
    assert (len(active), len(standby), len(active & standby)) == (10, 10, 9)
    assert {name for name, _ in active | standby} == {path.name for path in (server.state / "weights").iterdir()}
    assert list((server.state / "cache").glob("*.weights")) == []
