"""A split in a real server: exact over two gateways, the same for a key everywhere, open to who names a version."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from changeover.testing import Server, cpu_seconds, wait_for
from tests import onnx_models
from tests.split import Tables

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}).encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways, and two versions of a model that have a worker each."""
    with Server(tmp_path_factory.mktemp("split"), gateways=2) as server:
        for factor in (2.0, 5.0):
            server.deploy("m", onnx_models.scale(factor).SerializeToString())
        yield server


def versions(port: int, headers: list[dict[str, str]]) -> list[str]:
    """Who answered each of these requests, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    found = []
    for fields in headers:
        connection.request("POST", "/v2/models/m/infer", BODY, fields)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        assert body["outputs"][0]["data"] == [{"1": 2.0, "2": 5.0}[body["model_version"]]] * 4
        found.append(body["model_version"])
    connection.close()
    return found


def test_the_share_of_all_requests_is_the_weight(served: Server) -> None:
    """Of 1,600 over eight connections; each gateway is off by half a round at most."""
    Tables(served.pid).split("m", "1", "2", 2500)
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: versions(served.http_port, [{}] * 200), range(8))
    share = [v for part in parts for v in part].count("2") / 1600
    assert abs(share - 0.25) < 0.02


def test_a_key_never_goes_back_over_a_ramp(served: Server) -> None:
    """On changing connections, so at either gateway."""
    tables = Tables(served.pid)
    keys = [{"changeover-key": f"client-{number}"} for number in range(40)]
    before: set[int] = set()
    for weight in (100, 1000, 5000, 10_000):
        tables.split("m", "1", "2", weight)
        rounds = [versions(served.http_port, keys) for _ in range(3)]
        assert rounds[0] == rounds[1] == rounds[2]
        there = {number for number, version in enumerate(rounds[0]) if version == "2"}
        assert before <= there
        before = there
    assert len(before) == 40


def test_labels_and_versions_are_open_to_testers(served: Server) -> None:
    """Also of a candidate that has no traffic."""
    Tables(served.pid).split("m", "1", "2", 0)
    asked = {"active": "1", "candidate": "2", "1": "1", "2": "2"}
    found = versions(served.http_port, [{"changeover-version": name} for name in asked] * 3)
    assert found == [*asked.values()] * 3
    assert versions(served.http_port, [{}] * 5) == ["1"] * 5


def test_a_shadow_is_not_felt_when_its_worker_dies(served: Server) -> None:
    """The candidate really runs copies; who asks gets the active version's answers all the time."""
    Tables(served.pid).split("m", "1", "2", 0, mirror=10_000)
    worker = served.named("worker m/2")
    before = cpu_seconds(worker)

    def copied() -> bool:
        assert set(versions(served.http_port, [{}] * 50)) == {"1"}
        return cpu_seconds(worker) > before

    wait_for(copied, "copies at the candidate")
    worker.kill()
    assert set(versions(served.http_port, [{}] * 200)) == {"1"}
