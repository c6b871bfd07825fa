"""The gRPC port while versions are replaced, gateways die and the server stops."""

from __future__ import annotations

import signal
import time

import pytest

from changeover.testing import PATIENCE, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.end_to_end.crowd import FACTORS, in_service
from tests.end_to_end.streams import Heard, put
from tests.grpc_traffic import GrpcTraffic, channel
from tests.needed import needed

grpc = needed("grpc")
triton = needed("tritonclient.grpc")

SCALE = onnx_models.scale(FACTORS["1"]).SerializeToString()


def test_a_stream_goes_on_over_a_changeover(serve: Serve) -> None:
    """No request of it fails, and after the switch the new version answers the same stream."""
    server, heard = serve(), Heard()
    server.deploy("m", SCALE, 1)
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.start_stream(heard)
        server.push("m", onnx_models.scale(FACTORS["2"]).SerializeToString(), 2)
        sent = 0

        def switched() -> bool:
            nonlocal sent
            client.async_stream_infer("m", put(triton, 1.0))
            sent += 1
            result, error = heard.wait_for(sent)[-1]
            assert error is None
            return bool(result.get_response().model_version == "2")

        wait_for(switched, "an answer of version 2")
        client.stop_stream()
    answers = [(r.get_response().model_version, float(r.as_numpy("y")[0, 0])) for r, _ in heard.all]
    assert set(answers) == {(version, FACTORS[version]) for version in ("1", "2")}
    assert answers == sorted(answers)


def test_a_version_is_replaced_under_load(serve: Serve) -> None:
    """Five changeovers: no call fails, none has another version's numbers, none is stale."""
    server = serve()
    server.deploy("m", SCALE, 1)
    with GrpcTraffic(server.grpc_port, "m", FACTORS) as traffic:
        for version in range(2, 7):
            server.deploy("m", onnx_models.scale(FACTORS[str(version)]).SerializeToString(), version)
            traffic.wait_for_version(str(version))
    report = traffic.report
    assert (report.failed, report.refused, report.wrong) == ([], 0, 0)
    assert report.versions() == {str(version) for version in range(1, 7)}
    assert [report.stale(str(v - 1), str(v)) for v in range(2, 7)] == [0] * 5


def test_a_stop_loses_no_call(serve: Serve) -> None:
    """SIGTERM under load: what was sent is answered, later ones find nobody to connect to."""
    server = serve(gateways=2)
    server.deploy("m", SCALE)
    in_service(server, 2)
    with GrpcTraffic(server.grpc_port, "m", FACTORS) as traffic:
        assert server.stop() == 0
        wait_for(lambda: traffic.report.refused > 0, "a call that finds nobody")
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_who_watches_health_is_told_of_the_end(serve: Serve) -> None:
    """A stop does not wait for the watching client, which is to begin again elsewhere."""
    server = serve(drain_deadline=PATIENCE)
    with channel(server.grpc_port) as over:
        watching = over.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(watching) in (b"\x08\x01", b"\x08\x02")  # SERVING, NOT_SERVING
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < PATIENCE, "the whole drain was waited for"
        with pytest.raises(grpc.RpcError) as ended:
            list(watching)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_killed_gateway_takes_only_what_it_held(serve: Serve) -> None:
    """Its calls end as UNAVAILABLE, which clients try again; the channels go on with the other gateway and the next."""
    server = serve(gateways=2)
    server.deploy("m", SCALE)
    first, _ = in_service(server, 2)
    with GrpcTraffic(server.grpc_port, "m", FACTORS, channels=8) as traffic:
        first.send_signal(signal.SIGKILL)
        in_service(server, 2)
        traffic.wait_for_answers(200)
        failed = list(traffic.report.failed)
        traffic.wait_for_answers(200)
    assert traffic.report.failed == failed
    assert all("UNAVAILABLE" in why for why in failed), failed
    assert traffic.report.wrong == 0
