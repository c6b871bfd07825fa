"""The main promise: a version is replaced under load and no client can tell."""

from __future__ import annotations

import os
import time

import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

FACTORS = {"1": 2.0, "2": 3.0, "3": 5.0, "4": 7.0}


def model(version: str) -> bytes:
    """`y = factor * x` with the factor of a version."""
    return onnx_models.scale(FACTORS[version]).SerializeToString()


def started(serve: Serve, **settings: object) -> Server:
    """A server whose model `m` is at version 1."""
    server = serve(**settings)
    server.deploy("m", model("1"))
    return server


def test_a_push_under_load_loses_nothing(serve: Serve) -> None:
    """Three changeovers in a row: 0 failed, 0 wrong, 0 stale, every version answered."""
    server = started(serve)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        for version in ("2", "3", "4"):
            rollout = server.deploy("m", model(version))
            assert rollout["phase"] == "watching", rollout
            traffic.wait_for_version(version)
            traffic.wait_for_answers(20)
    report = traffic.report
    assert (report.failed, report.refused, report.wrong) == ([], 0, 0)
    assert report.versions() == {"1", "2", "3", "4"}
    for old, new in (("1", "2"), ("2", "3"), ("3", "4")):
        assert report.stale(old, new) == 0


def test_undo_under_load_brings_the_old_version_back(serve: Serve) -> None:
    """Whatever is sent after the answer to `undo` gets the old version, which comes soon, and nothing is lost."""
    server = started(serve)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        server.deploy("m", model("2"))
        traffic.wait_for_version("2")
        asked = time.monotonic()
        undone = server.control("POST", "/v1/models/m/rollout/undo")
        answered = time.monotonic()
        traffic.wait_for_answers(30)
    late = [a for a in traffic.report.answers if a.sent > answered]
    assert answered - asked <= 5.0, "undo also waits for the drain, which a busy machine delays"
    assert late
    assert {a.version for a in late} == {"1"}
    assert (undone["phase"], server.model("m")["active"]) == ("rolled_back", "1")
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_undo_without_a_standby_is_refused(serve: Serve) -> None:
    """A model's first version has nothing to go back to."""
    server = started(serve)
    with pytest.raises(AssertionError, match="no_standby"):
        server.control("POST", "/v1/models/m/rollout/undo")


def test_both_versions_can_be_named_while_the_window_is_open(serve: Serve) -> None:
    """The standby answers under its number, `active` is the new one, and a released version is 404."""
    server = started(serve)
    server.deploy("m", model("2"))
    asked = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    assert server.infer("m", asked, version="1").json()["outputs"][0]["data"] == [2.0] * 4
    assert server.infer("m", asked, changeover_version="active").json()["model_version"] == "2"
    server.deploy("m", model("3"))
    wait_for(lambda: server.model("m")["standby"] == "2", "version 1 to be released")
    assert server.infer("m", asked, version="1").status == 404


def test_the_old_worker_is_gone_after_the_window(serve: Serve) -> None:
    """With an undo window of 0 the old worker ends after its drain, under load, without a loss."""
    server = serve()
    server.plan("m", "rollout: {strategy: instant, undo_window: 0}")
    server.deploy("m", model("1"))
    old = server.named("worker m/1")
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        server.deploy("m", model("2"))
        wait_for(lambda: not old.is_running(), "the old worker to end")
        traffic.wait_for_answers(20)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
    wait_for(lambda: server.model("m")["rollout"]["phase"] == "succeeded", "the rollout to end")
    assert server.model("m")["standby"] is None


def test_a_slow_copy_into_the_repository_is_never_half_taken(serve: Serve) -> None:
    """A file that grows in small pieces for seconds is served once it is whole, and never before."""
    server = serve()
    folder = server.repository / "m" / "1"
    folder.mkdir(parents=True)
    data = onnx_models.weighty(2).SerializeToString()
    with (folder / "model.onnx").open("wb", buffering=0) as file:
        for at in range(0, len(data), len(data) // 8):
            file.write(data[at : at + len(data) // 8])
            assert server.get("/v2/models/m").status == 404
            time.sleep(0.3)  # the writer's pace: longer than the settling time
    wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "the whole file to serve")
    wait_for(lambda: server.model("m")["rollout"]["phase"] != "promoting", "the record of the switch")
    assert [r["phase"] for r in server.control("GET", "/v1/models/m/rollouts")["rollouts"]] == ["succeeded"]


def test_a_folder_dropped_under_load_takes_over(serve: Serve) -> None:
    """A higher number in the repository starts its rollout by itself; a lower one does not."""
    server = started(serve)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        aside = server.state / "aside"
        aside.mkdir()
        (aside / "model.onnx").write_bytes(model("3"))
        (server.repository / "m").mkdir(exist_ok=True)
        os.rename(aside, server.repository / "m" / "3")
        traffic.wait_for_version("3")
        (server.repository / "m" / "2").mkdir()
        (server.repository / "m" / "2" / "model.onnx").write_bytes(model("2"))
        wait_for(lambda: "2" in [v["version"] for v in server.model("m")["versions"]], "version 2 to be seen")
        traffic.wait_for_answers(50)
    assert server.model("m")["active"] == "3"
    assert (traffic.report.failed, traffic.report.wrong, traffic.report.stale("1", "3")) == ([], 0, 0)


@pytest.mark.parametrize("attempt", range(3))
def test_at_first_start_the_highest_version_serves(serve: Serve, tmp_path: object, attempt: int) -> None:
    """Of several versions in the repository the highest one serves when the server says that it is ready."""
    folder = tmp_path / "models" / "m"  # type: ignore[operator]
    for version in ("1", "2", "3"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.onnx").write_bytes(model(version))
    server = serve()
    assert server.model("m")["active"] == "3"
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        traffic.wait_for_answers(50)
    assert traffic.report.versions() == {"3"}


def test_the_certificate_counts_what_the_client_counted(serve: Serve) -> None:
    """After a changeover under load the certificate says 0 failed and 0 stale picks."""
    server = started(serve)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        rollout = server.deploy("m", model("2"))
        server.control("POST", "/v1/models/m/rollout/undo")
        traffic.wait_for_answers(10)
        path = f"/v1/rollouts/{rollout['id']}/certificate"

        def written() -> object:
            try:
                return server.control("GET", path)
            except AssertionError:
                return None

        certificate = wait_for(written, "the certificate")
    assert certificate["requests"]["failed"] == 0  # type: ignore[index]
    assert certificate["requests"]["total"] > 0  # type: ignore[index]
    assert certificate["switch"]["stale_picks"] == 0  # type: ignore[index]
    assert traffic.report.failed == []
