"""A bad candidate in a real server costs its clients nothing: they get the active version's answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.split import Tables
from tests.traffic import Traffic

KINDS = ("error", "crash", "hang", "nan", "slow")
DEADLINE = 2.0


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a model for each kind of fault; version 2 has it as soon as a file of that name exists."""
    folder = tmp_path_factory.mktemp("bad")
    faults = folder / "faults.json"
    told = {kind: {"2": {"kind": kind, "factor": 10, "when": str(folder / kind)}} for kind in KINDS}
    faults.write_text(json.dumps({"models": told}))
    with Server(folder, faults=faults) as server:
        yield server, folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_clients_of_a_bad_candidate_notice_nothing(bad: tuple[Server, Path], kind: str) -> None:
    """A quarter of the traffic is its own when it goes wrong: no error, no wrong value, nothing after the deadline."""
    server, folder = bad
    for factor in (2.0, 5.0):
        server.deploy(kind, onnx_models.slow(2, factor=factor).SerializeToString())
    Tables(server.pid).split(kind, "1", "2", 2500, shield=True, finite=True)
    with Traffic(server.http_port, kind, {"1": 2.0, "2": 5.0}, rate=60, fresh=0.0) as traffic:
        wait_for(lambda: traffic.report.versions() == {"1", "2"}, "answers of both versions")
        traffic.wait_for_answers(60)
        (folder / kind).touch()
        changed = time.monotonic()
        traffic.wait_for_answers(120)
    report = traffic.report
    assert not report.failed
    assert report.wrong == 0
    late = [a for a in report.answers if a.received - a.sent > DEADLINE]
    assert not late, [round(a.received - a.sent, 3) for a in late]
    if kind != "slow":
        assert {a.version for a in report.answers if a.sent > changed + 0.2} == {"1"}
