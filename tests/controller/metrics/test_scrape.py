"""A scrape: the form that is asked for, one at a time, and a server that tells what its clients did."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from changeover.controller.metrics.scrape import Scrape
from changeover.controller.metrics.snapshot import Snapshot
from changeover.protocol.exposition import OPENMETRICS, PROTOBUF, TEXT
from changeover.testing.server import Server
from changeover.testing.waiting import wait_for
from tests import onnx_models
from tests.controller.metrics.moments import moment

REQUEST = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


async def looked() -> None:
    """There is nothing to look at."""


def test_every_form_is_written() -> None:
    """And what is read from the kernel is in it."""
    scrape = Scrape(lambda _: moment(), looked)

    async def scenario() -> list[tuple[str, bytes]]:
        return list(await asyncio.gather(*(scrape.answer(form) for form in (TEXT, OPENMETRICS, PROTOBUF))))

    answers = asyncio.run(scenario())
    assert [form for form, _ in answers] == [TEXT, OPENMETRICS, PROTOBUF]
    assert all(b"changeover_memory_limit_bytes" in body for _, body in answers)
    assert [body.endswith(b"# EOF\n") for _, body in answers] == [False, True, False]


def test_the_facts_are_taken_on_the_event_loop() -> None:
    """One scrape after the other, each with the last thirty seconds, and after a look at what others have."""
    asked: list[int] = []
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(asked))

    def taken(since_ns: int) -> Snapshot:
        asyncio.get_running_loop()  # raises outside of it
        asked.append(since_ns)
        return moment()

    async def scenario() -> None:
        scrape = Scrape(taken, look)
        await asyncio.gather(scrape.answer(""), scrape.answer(""))

    asyncio.run(scenario())
    assert len(asked) == 2
    assert looks == [0, 1]


def scraped(server: Server) -> dict[str, float]:
    """Samples by name and labels, as a scraper of OpenMetrics reads them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.control_port)
    connection.request("GET", "/metrics", headers={"accept": "application/openmetrics-text"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (200, OPENMETRICS)
    families = openmetrics(answer.read().decode())
    connection.close()
    return {f"{s.name}{sorted(s.labels.values())}": s.value for family in families for s in family.samples}


def test_a_server_tells_what_its_clients_did(serve: Callable[..., Server]) -> None:
    """Answers, errors by reason, a killed gateway's counts too; a version that was let go has no series."""
    here = serve(gateways=2)
    here.plan("m", "rollout: {strategy: instant, undo_window: 0}\n")
    here.deploy("m", onnx_models.scale(2).SerializeToString())
    for _ in range(20):
        assert here.infer("m", REQUEST).status == 200
    assert here.infer("m", {"inputs": []}).status == 400
    assert here.infer("nobody", REQUEST).status == 404
    answered = "changeover_request_duration_seconds_count['1', 'active', 'http', 'm']"
    wait_for(lambda: scraped(here).get(answered) == 20, "the gateways' reports")
    here.named("gateway").kill()
    found = scraped(here)
    assert found["changeover_requests_total['1', 'active', 'http', 'm']"] == 21
    assert found["changeover_unrouted_request_errors_total['caller', 'http', 'model_not_found']"] == 1
    assert found["changeover_version_weight_ratio['1', 'm']"] == 1
    assert found["changeover_worker_resident_memory_bytes['1', 'm']"] > 1e6
    here.deploy("m", onnx_models.scale(3).SerializeToString())
    old = "changeover_request_duration_seconds_count['1', 'active', 'http', 'm']"
    assert old in found
    wait_for(lambda: old not in scraped(here), "the end of version 1")
    left = [name for name in scraped(here) if "'1', 'm'" in name or "'1', 'active'" in name]
    assert not left
    assert scraped(here)["changeover_version_weight_ratio['2', 'm']"] == 1
