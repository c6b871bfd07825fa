"""Methods, scopes and answers of the gRPC port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from changeover.access import Scope, guard_of
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.grpc import HEALTH, LARGE, METHODS
from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.protocol.oip_grpc_schema import METHODS as SCHEMA
from tests.gateway.calls import INFERENCE, FakeCall, call, inference
from tests.gateway.extended import ask as over_http
from tests.gateway.extended import grpc_app
from tests.gateway.extended import take as ask
from tests.gateway.stage import Stage, entry, stage

TOKEN, STRAY = "infer-0123456789abcdef", "admin-0123456789abcdef"


def in_stage(check: Any, **options: Any) -> None:
    """Run a check with a stage that serves two versions."""

    async def scenario() -> None:
        async with stage(**options) as here:
            here.serve(1, entry(7, "10"), entry(8, "9"))
            check(here)

    asyncio.run(scenario())


def test_every_method_has_a_scope_and_an_answer() -> None:
    """Each method that the services declare stands in the table, and what answers it is there."""

    def check(here: Stage) -> None:
        assert set(SCHEMA) <= set(METHODS)
        app = grpc_app(here)
        handlers = {**app._handlers, **app._later}
        for path, method in METHODS.items():
            assert isinstance(method.scope, Scope), path
            assert method.what in ("infer", "stream", "watch", *handlers), path

    in_stage(check)


def test_what_anybody_may_ask_is_small() -> None:
    """A packed message is unpacked on the loop of all calls, so the large ones are those that carry data."""
    assert {path.rpartition("/")[2] for path in LARGE} == {"ModelInfer", "ModelStreamInfer", "RepositoryModelLoad"}
    assert not any(METHODS[path].scope is Scope.OPEN for path in LARGE)


@pytest.mark.parametrize("path", ["/", "/inference.GRPCInferenceService/Nothing", "/other.Service/ModelInfer", ""])
def test_unknown_methods_are_unimplemented(path: str) -> None:
    """As in every gRPC server."""

    def check(here: Stage) -> None:
        asked = ask(here, FakeCall(memoryview(b""), path))
        assert (asked.status, asked.reason) == (Status.UNIMPLEMENTED, b"method_not_served")

    in_stage(check)


def test_both_ports_tell_the_same_of_server_and_model() -> None:
    """Metadata by gRPC are the fields of the JSON document."""

    def check(here: Stage) -> None:
        def http(path: str) -> Any:
            return over_http(here, "GET", path).json()

        server, shown = plain(ask(here, call("ServerMetadata")).values("ServerMetadataResponse")), http("/v2")
        assert set(server.pop("extensions")) <= set(shown.pop("extensions")), "some extensions are of HTTP only"
        assert server == shown
        told = plain(ask(here, call("ModelMetadata", name="m")).values("ModelMetadataResponse"))
        told.pop("properties", None)
        assert told == http("/v2/models/m")
        told = plain(ask(here, call("ModelMetadata", name="m", version="9")).values("ModelMetadataResponse"))
        assert told["versions"] == ["9"]
        here.page.store(0, 1)
        wrong = ask(here, call("ModelMetadata", name="nobody"))
        assert (wrong.status, wrong.reason) == (Status.NOT_FOUND, b"model_not_found")

    in_stage(check)


def test_both_ports_tell_the_same_of_configuration_and_statistics() -> None:
    """What a message leaves out has its default; an unknown model or version is NOT_FOUND."""

    def check(here: Stage) -> None:
        for version, path in (("", "/v2/models/m"), ("9", "/v2/models/m/versions/9")):
            asked = ask(here, call("ModelConfig", name="m", version=version))
            told = plain(asked.values("ModelConfigResponse"))["config"]
            shown = over_http(here, "GET", f"{path}/config").json()
            assert {name: told[name] for name in ("name", "backend", "max_batch_size")} == {
                name: shown[name] for name in ("name", "backend", "max_batch_size")
            }
            assert told["input"][0] == {**told["input"][0], "name": "x", "data_type": "TYPE_FP32", "dims": [4]}
        for name, path in (("", "/v2/models/stats"), ("m", "/v2/models/m/stats")):
            told = plain(ask(here, call("ModelStatistics", name=name)).values("ModelStatisticsResponse"))
            assert told == over_http(here, "GET", path).json()
            assert [one["version"] for one in told["model_stats"]] == ["9", "10"]
        here.page.store(0, 1)  # before the end of the first load nobody is unknown for good
        for method in ("ModelConfig", "ModelStatistics"):
            wrong = [ask(here, call(method, **who)) for who in ({"name": "n"}, {"name": "m", "version": "8"})]
            assert [one.reason for one in wrong] == [b"model_not_found", b"version_not_found"]

    in_stage(check)


def plain(value: Any) -> Any:
    """Tuples and read-only maps as JSON would have them."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def test_readiness_is_the_pages_word() -> None:
    """The server is live before its first load is over, and ready after; health says the same."""

    def check(here: Stage) -> None:
        for ready in (False, True):
            here.page.store(0, int(ready))
            assert ask(here, call("ServerLive")).values("ServerLiveResponse")["live"] is True
            assert ask(here, call("ServerReady")).values("ServerReadyResponse")["ready"] is ready
            assert health(here) == ("SERVING" if ready else "NOT_SERVING")
            assert health(here, "inference.GRPCInferenceService") == health(here)

    in_stage(check)


def health(here: Stage, service: str = "") -> str:
    """What the standard's health service says, or the code it ends with."""
    body = encode("grpc.health.v1.HealthCheckRequest", {"service": service})
    asked = ask(here, FakeCall(memoryview(body), f"/{HEALTH}/Check"))
    if asked.status is not Status.OK:
        return str(asked.status.name) if asked.status is not None else ""
    told = decode("grpc.health.v1.HealthCheckResponse", memoryview(asked.answer))
    return str(told["status"])


def test_health_of_an_unknown_service_is_not_found() -> None:
    """As the standard says."""

    def check(here: Stage) -> None:
        assert health(here, "other") == "NOT_FOUND"

    in_stage(check)


def test_a_model_is_ready_while_a_worker_can_answer() -> None:
    """One that nobody knows, or a version that does not serve, is not ready; that is no error."""

    def check(here: Stage) -> None:
        def ready(**values: str) -> bool:
            told: bool = ask(here, call("ModelReady", **values)).values("ModelReadyResponse")["ready"]
            return told

        assert [ready(name="m"), ready(name="m", version="9"), ready(name="m", version="8"), ready(name="n")] == [
            True, True, False, False,
        ]  # fmt: skip
        here.models.targets[7].batcher.on_loss([], [], None)
        assert [ready(name="m"), ready(name="m", version="9")] == [False, True]

    in_stage(check)


def test_a_malformed_question_is_the_callers_fault() -> None:
    """INVALID_ARGUMENT for bytes that are no message."""

    def check(here: Stage) -> None:
        asked = ask(here, FakeCall(memoryview(b"\xff\xff"), INFERENCE + "ModelReady"))
        assert (asked.status, asked.reason) == (Status.INVALID_ARGUMENT, b"malformed_protobuf")

    in_stage(check)


@pytest.mark.parametrize("name", ["ServerLive", "ServerReady", "ServerMetadata"])
def test_health_is_answered_under_overload(name: str) -> None:
    """It takes no place in a queue."""

    def check(here: Stage) -> None:
        for _ in range(2):
            ask(here, inference())
        assert ask(here, inference()).status is Status.UNAVAILABLE
        assert ask(here, call(name)).status is Status.OK

    in_stage(check, queue_limit=2)


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("scope", [None, Scope.INFER, Scope.ADMIN])
@pytest.mark.parametrize("known", [True, False])
def test_each_method_takes_its_scope(tmp_path: Path, path: str, scope: Scope | None, known: bool) -> None:
    """Health is open; everything else refuses a caller without its scope, before it looks at the message."""
    tokens = {None: "", Scope.INFER: TOKEN, Scope.ADMIN: STRAY}
    file = tmp_path / "tokens"
    file.write_text(f"infer {TOKEN}\nadmin {STRAY}\n")
    file.chmod(0o600)
    guard, needed = guard_of(str(file), None), METHODS[path].scope
    sent = f"Bearer {tokens[scope]}{'' if known else 'x'}".encode()

    def check(here: Stage) -> None:
        asked = ask(here, FakeCall(memoryview(b""), path, {b"authorization": sent} if scope else {}), guard=guard)
        refused = asked.status if asked.status in (Status.UNAUTHENTICATED, Status.PERMISSION_DENIED) else None
        if needed in (Scope.OPEN, scope if known else None):
            assert refused is None
        else:
            assert refused is (Status.PERMISSION_DENIED if scope and known else Status.UNAUTHENTICATED)

    in_stage(check)


def test_a_certificate_is_as_good_as_a_token() -> None:
    """On a server that verifies certificates, and only there."""

    def check(here: Stage) -> None:
        guard = guard_of(None, "ca.pem")
        shown, bare = call("ServerMetadata"), call("ServerMetadata")
        shown.certified = True
        assert ask(here, shown, guard=guard).status is Status.OK
        assert ask(here, bare, guard=guard).status is Status.UNAUTHENTICATED

    in_stage(check)


def test_a_version_that_is_no_number_is_a_mistake() -> None:
    """Unless it is a role's name; a number that does not serve is not found."""

    def check(here: Stage) -> None:
        told = [ask(here, inference(model_version=version)) for version in ("new", "77", "candidate", "active")]
        assert [one.status for one in told] == [
            Status.INVALID_ARGUMENT, Status.NOT_FOUND, Status.NOT_FOUND, None,
        ]  # fmt: skip
        assert told[0].reason == b"version_not_found"

    in_stage(check)


def test_statistics_and_settings_of_nobody_are_a_mistake() -> None:
    """As Triton has it; metadata of nobody are not found."""

    def check(here: Stage) -> None:
        here.page.store(0, 1)
        asked = [call("ModelStatistics", name="n"), call("TraceSetting", model_name="n"), call("ModelConfig", name="n")]
        told = [ask(here, one) for one in asked]
        assert [one.reason for one in told] == [b"model_not_found"] * 3
        assert [one.status for one in told] == [Status.INVALID_ARGUMENT] * 2 + [Status.NOT_FOUND]

    in_stage(check)
