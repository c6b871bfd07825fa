"""The control API of a real server."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.routing import Route

from changeover.access import Scope, guard_of
from changeover.controller.api import Endpoint, _store, endpoints, make_app
from changeover.controller.service import Service
from changeover.errors import Internal
from changeover.testing import Server, exchange
from tests import onnx_models

NO_SERVICE = cast(Service, None)
TABLE = endpoints(NO_SERVICE)
DESCRIPTION = {"/openapi.json", "/docs"}
DASHBOARD = {"/", "/ui", "/ui/{file}", "/ui/vendor/{file}", "/v1/access"}
SCALE = onnx_models.scale(2).SerializeToString()


def archive(**files: bytes) -> bytes:
    """A tar stream; `model_onnx` stands for `model.onnx`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def push_tar(server: Server, model: str, body: bytes) -> tuple[int, dict[str, str]]:
    """Push an archive."""
    path = f"/v1/models/{model}/versions"
    reply = exchange(server.control_port, "POST", path, body, {"content-type": "application/x-tar"})
    return reply.status, reply.json()


def test_a_push_answers_at_once_with_what_it_began(shared_server: Server) -> None:
    """Model, version, digest and rollout; numbers go up by themselves."""
    first = shared_server.push("api_push", SCALE)
    assert (first["model"], first["version"], len(first["digest"])) == ("api_push", "1", 64)
    assert shared_server.settled(first["rollout"])["phase"] == "succeeded"
    assert shared_server.push("api_push", onnx_models.scale(3).SerializeToString())["version"] == "2"


def test_models_versions_and_roles_are_shown(shared_server: Server) -> None:
    """With worker, state and digest of each."""
    shared_server.deploy("api_show", SCALE)
    shared_server.deploy("api_show", onnx_models.scale(3).SerializeToString())
    shown = shared_server.model("api_show")
    assert (shown["state"], shown["active"], shown["standby"]) == ("ready", "2", "1")
    assert [(v["version"], v["role"], v["state"]) for v in shown["versions"]] == [
        ("2", "active", "ready"),
        ("1", "standby", "ready"),
    ]
    assert all(v["worker"]["pid"] > 0 for v in shown["versions"])
    assert shown["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert "api_show" in [m["name"] for m in shared_server.control("GET", "/v1/models")["models"]]


def test_a_rollout_has_its_gates_and_an_undo_time(shared_server: Server) -> None:
    """Found by its id and as the model's newest."""
    shared_server.deploy("api_rollout", SCALE)
    rollout = shared_server.deploy("api_rollout", onnx_models.scale(3).SerializeToString())
    assert {g["gate"]: g["result"] for g in rollout["gates"]} == {
        "integrity": "passed",
        "structure": "passed",
        "warmup": "passed",
        "resources": "passed",
        "accuracy": "skipped",
        "performance": "passed",
    }
    assert rollout["undo_until"] is not None
    assert shared_server.control("GET", "/v1/models/api_rollout/rollout")["id"] == rollout["id"]


def test_a_tar_brings_a_plan_along(shared_server: Server) -> None:
    """`model.yaml` in the archive counts for that version: with an undo window of 0 there is no standby."""
    plan = b"rollout: {strategy: instant, undo_window: 0}"
    for factor in (2, 3):
        data = onnx_models.scale(factor).SerializeToString()
        status, pushed = push_tar(shared_server, "api_tar", archive(model_onnx=data, model_yaml=plan))
        assert status == 202
        shared_server.settled(pushed["rollout"])
    assert shared_server.model("api_tar")["active"] == "2"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"no archive", 422, None),
        (archive(other_txt=b"x"), 422, None),
        (archive(model_onnx=SCALE, model_yaml=b"rollout: {strategy: blue}"), 400, "invalid_plan"),
        (archive(model_onnx=SCALE, model_yaml=b"\xff\xfe"), 400, "invalid_plan"),
    ],
)
def test_an_archive_that_is_no_version_is_refused(
    shared_server: Server, body: bytes, status: int, reason: str | None
) -> None:
    """At once, with a reason, and without a rollout."""
    got, told = push_tar(shared_server, "api_bad", body)
    assert got == status
    assert told["reason"]
    assert reason is None or told["reason"] == reason


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
        ("GET", "/v1/models/nobody/rollout", 404, "model_not_found"),
        ("GET", "/v1/models/nobody?unknown=1", 404, "model_not_found"),
        ("POST", "/v1/models/nobody/rollout/undo", 404, "model_not_found"),
        ("GET", "/v1/rollouts/r-999999", 404, None),
        ("GET", "/v1/rollouts/r-999999/certificate", 404, None),
        ("GET", "/v1/nothing", 404, "path_not_found"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/models/double/versions?version=0", 400, "invalid_version"),
        ("POST", "/v1/models/double/versions?version=x", 400, "invalid_version"),
        ("POST", "/v1/models/double/versions?verison=7", 400, "unknown_query"),
        ("POST", "/v1/models/double/rollout/undo?wait=1", 400, "unknown_query"),
        ("POST", "/v1/models/double/rollout/undo", 409, "no_standby"),
    ],
)
def test_errors_have_status_reason_and_sentence(
    shared_server: Server, method: str, path: str, status: int, reason: str | None
) -> None:
    """The same form as on the inference port."""
    reply = exchange(shared_server.control_port, method, path, SCALE if "versions" in path else None)
    told = reply.json()
    assert reply.status == status, told
    assert reason is None or told["reason"] == reason
    assert len(told["error"]) > 10


def test_health_names_the_term_and_the_gateways(shared_server: Server) -> None:
    """One gateway, ready."""
    health = shared_server.control("GET", "/v1/health")
    assert health["ready"] is True
    assert [g["ready"] for g in health["gateways"]] == [True]


def test_the_same_bytes_under_a_new_number_share_their_artifact(shared_server: Server) -> None:
    """The digest names the bytes; the versions are two."""
    first = shared_server.deploy("api_twice", SCALE)
    second = shared_server.deploy("api_twice", SCALE)
    assert first["to"]["digest"] == second["to"]["digest"]
    assert (first["to"]["version"], second["to"]["version"]) == ("1", "2")
    assert shared_server.model("api_twice")["active"] == "2"


def test_every_route_is_a_row_of_the_table() -> None:
    """Nothing else is routed; health, the description and the dashboard's files are open, looking is no admin's."""
    app = make_app(NO_SERVICE)
    routes = {(r.path, method) for r in app.routes if isinstance(r, Route) for method in r.methods or ()}
    assert len(app.routes) == len(TABLE)
    assert routes - {(e.path, "HEAD") for e in TABLE} == {(e.path, e.method) for e in TABLE}
    assert {e.path for e in TABLE if e.scope is Scope.OPEN} == {"/v1/health", *DESCRIPTION, *DASHBOARD}
    assert {e.method for e in TABLE if e.scope is Scope.READ} == {"GET"}
    assert {e.method for e in TABLE if e.scope is Scope.ADMIN} == {"POST"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_every_route_asks_for_its_scope(row: Endpoint, tmp_path: Path) -> None:
    """Before it touches the service: without a token 401, with another scope's 403, and both ports' form of errors."""
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{scope} 0123456789abcdef-{scope}\n" for scope in ("infer", "read", "admin")))
    tokens.chmod(0o600)
    app = make_app(NO_SERVICE, guard_of(str(tokens), None))
    if row.path in DESCRIPTION | DASHBOARD:  # made of the table, or of files, without a service
        assert ask(app, row, None)[0] == (404 if "{file}" in row.path else 200)
        return
    if row.scope is Scope.OPEN:
        with pytest.raises(AttributeError, match="health"):  # it reached the service that is not there
            ask(app, row, None)
        return
    status, headers, told = ask(app, row, None)
    assert (status, told["reason"], headers[b"www-authenticate"]) == (401, "unauthenticated", b"Bearer")
    for token in ("infer", "read") if row.scope is Scope.ADMIN else ("infer",):
        status, _, told = ask(app, row, f"Bearer 0123456789abcdef-{token}".encode())
        assert (status, told["reason"]) == (403, "forbidden")
    if row.path == "/v1/schema":
        assert ask(app, row, b"Bearer 0123456789abcdef-admin")[0] == 200
    elif row.takes is not None:  # looked at before the service is asked
        assert ask(app, row, b"Bearer 0123456789abcdef-admin")[0] == 400
    else:
        with pytest.raises(AttributeError):
            ask(app, row, b"Bearer 0123456789abcdef-admin")


def ask(app: Any, row: Endpoint, authorization: bytes | None) -> tuple[int, dict[bytes, bytes], Any]:
    """One request to the application, without a server."""
    path = re.sub(r"\{\w+\}", "x", row.path)
    headers = [] if authorization is None else [(b"authorization", authorization)]
    scope = {"type": "http", "method": row.method, "path": path, "headers": headers, "query_string": b""}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    headers_sent, body_sent = dict(sent[0]["headers"]), sent[1]["body"]
    is_json = headers_sent[b"content-type"] == b"application/json"
    return sent[0]["status"], headers_sent, json.loads(body_sent) if is_json else body_sent


def test_a_push_that_the_disk_does_not_take() -> None:
    """It is the server's fault, in one sentence, also while the body is still on its way."""

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Internal) as caught:
        asyncio.run(_store(Full(), b"x" * (9 << 20)))
    assert caught.value.reason == "artifacts_unwritable"
