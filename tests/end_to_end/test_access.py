"""A server with tokens, TLS and client certificates, from outside: Triton's client, curl, the CLI, and `ps`."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gevent.ssl
import numpy as np
import psutil
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from changeover.testing import PATIENCE, wait_for
from tests import onnx_models
from tests.guarded import ADMIN, INFER, GuardedServer, write_tokens
from tests.needed import needed

STRAY = "stray-0123456789abcdef"
QUESTION = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
PATH = "/v2/models/double/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    """A guarded server that serves `double`."""
    with GuardedServer(tmp_path_factory.mktemp("guarded")) as made:
        made.deploy("double", onnx_models.scale(2).SerializeToString())
        yield made


def run(command: list[str], text: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A program to its end, with this on its standard input."""
    return subprocess.run(command, input=text, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_tritons_client_with_tls_and_a_token(server: GuardedServer) -> None:
    """It infers with the token, is told why without, and finds health open."""
    client = triton.InferenceServerClient(
        f"127.0.0.1:{server.http_port}",
        ssl=True,
        ssl_context_factory=lambda: gevent.ssl.create_default_context(cafile=str(server.authority.cert)),
    )
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        put = triton.InferInput("x", [1, 4], "FP32")
        put.set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32))
        answer = client.infer("double", [put], headers={"Authorization": f"Bearer {INFER}"})
        assert answer.as_numpy("y").tolist() == [[2, 4, 6, 8]]
        with pytest.raises(InferenceServerException, match="send `Authorization: Bearer TOKEN`"):
            client.infer("double", [put])
        with pytest.raises(InferenceServerException, match="'deploy' has the scope admin; this needs infer"):
            client.infer("double", [put], headers={"Authorization": f"Bearer {ADMIN}"})
    finally:
        client.close()


def test_curl_with_tls_and_a_token(server: GuardedServer) -> None:
    """With the CA, and the token from a file of its own."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    url = f"https://127.0.0.1:{server.http_port}/v2/models/double"
    command = ["curl", "--silent", "--cacert", str(server.authority.cert), "--header", "@-", url]
    sent = run(command, text=f"Authorization: Bearer {INFER}")
    assert json.loads(sent.stdout)["name"] == "double"
    bare = run(command)
    assert json.loads(bare.stdout)["reason"] == "unauthenticated"


@pytest.mark.parametrize(
    ("token", "shown", "status"),
    [(INFER, False, 200), ("", True, 200), ("", False, 401), (STRAY, False, 401), (ADMIN, False, 403)],
)
def test_the_inference_port_takes_a_token_or_a_certificate(
    server: GuardedServer, token: str, shown: bool, status: int
) -> None:
    """One of the two, with the right scope."""
    pair = server.client_pair if shown else None
    assert server.ask(server.http_port, "POST", PATH, QUESTION, token=token, pair=pair).status == status


@pytest.mark.parametrize(
    ("token", "answer"), [("", b"401 Unauthorized"), (ADMIN, b"403 Forbidden"), (INFER, b"100 Continue")]
)
def test_the_token_is_looked_at_before_the_body(server: GuardedServer, token: str, answer: bytes) -> None:
    """A large body is refused by its head, and only the right token is told to send it."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: h", f"Content-Length: {64 << 20}", "Expect: 100-continue"]
    lines += [f"Authorization: Bearer {token}"] * bool(token)
    plain = socket.create_connection(("127.0.0.1", server.http_port), PATIENCE)
    with server.authority.client_context().wrap_socket(plain, server_hostname="127.0.0.1") as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert client.recv(1024).startswith(b"HTTP/1.1 " + answer)


def test_the_control_port_takes_a_certificate_and_a_token(server: GuardedServer) -> None:
    """Without the one there is no connection, without the other no answer but health's."""
    port, pair = server.control_port, server.client_pair
    with pytest.raises((ssl.SSLError, OSError)):
        server.ask(port, "GET", "/v1/models", token=ADMIN)
    statuses = [
        server.ask(port, "GET", "/v1/models", token=token, pair=pair).status for token in ("", STRAY, INFER, ADMIN)
    ]
    assert statuses == [401, 401, 403, 200]
    assert server.ask(port, "GET", "/v1/health", pair=pair).status == 200


@pytest.mark.parametrize(
    ("token", "shown", "code"),
    [
        (INFER, False, "OK"),
        ("", True, "OK"),
        ("", False, "UNAUTHENTICATED"),
        (STRAY, False, "UNAUTHENTICATED"),
        (ADMIN, False, "PERMISSION_DENIED"),
    ],
)
def test_the_grpc_port_takes_a_token_or_a_certificate(
    server: GuardedServer, token: str, shown: bool, code: str
) -> None:
    """As the HTTP port, over TLS that speaks h2; health is open."""
    grpc = needed("grpc")
    pair = server.client_pair if shown else None
    files = (server.authority.cert, *((pair.key, pair.cert) if pair else ()))
    credentials = grpc.ssl_channel_credentials(*[Path(file).read_bytes() for file in files])
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials) as channel:
        service = "/inference.GRPCInferenceService/"
        assert channel.unary_unary(service + "ServerLive")(b"", timeout=PATIENCE) == b"\x08\x01"
        call = channel.unary_unary(service + "ServerMetadata").future(b"", timeout=PATIENCE, metadata=metadata)
        assert call.code().name == code


def test_plain_http_gets_no_answer(server: GuardedServer) -> None:
    """On neither port, and `server.json` says how to ask."""
    assert json.loads((server.state / "server.json").read_text())["scheme"] == "https"
    for port in (server.http_port, server.control_port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/v2/health/live")
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()
        connection.close()


def cli(server: GuardedServer, *words: str, token: str) -> subprocess.CompletedProcess[str]:
    """The CLI with the certificates named, and the token in its environment."""
    options = ["--control", f"https://127.0.0.1:{server.control_port}", "--cacert", str(server.authority.cert)]
    options += ["--client-cert", str(server.client_pair.cert), "--client-key", str(server.client_pair.key)]
    environment = os.environ | {"CHANGEOVER_TOKEN": token}
    command = [sys.executable, "-m", "changeover.cli", *words, *options]
    return run(command, env=environment)


def test_the_cli_shows_token_and_certificate(server: GuardedServer, tmp_path: Path) -> None:
    """A push goes through; with another token it is refused with exit code 1 and the server's sentence."""
    file = tmp_path / "m.onnx"
    file.write_bytes(onnx_models.scale(3).SerializeToString())
    done = cli(server, "push", "by_cli", str(file), "--wait", token=ADMIN)
    assert done.returncode == 0, done.stderr
    refused = cli(server, "status", token=INFER)
    assert refused.returncode == 1
    assert "[forbidden]" in refused.stderr
    for secret in (ADMIN, INFER):
        assert secret not in done.stdout + done.stderr + refused.stdout + refused.stderr


def test_a_certificate_that_is_not_trusted_is_told(server: GuardedServer) -> None:
    """With what to do about it."""
    command = [sys.executable, "-m", "changeover.cli", "status"]
    command += ["--control", f"https://127.0.0.1:{server.control_port}"]
    done = run(command)
    assert done.returncode == 2
    assert "name its CA with --cacert" in done.stderr


def test_a_changeover_under_tls_loses_nothing(server: GuardedServer) -> None:
    """Clients on kept connections see no failure while the version changes."""
    server.deploy("swapped", onnx_models.scale(2).SerializeToString())
    stop, versions, failed = threading.Event(), [set(), set()], []  # type: ignore[var-annotated]

    def client(seen: set[str]) -> None:
        context = server.authority.client_context()
        connection = http.client.HTTPSConnection("127.0.0.1", server.http_port, timeout=PATIENCE, context=context)
        while not stop.is_set():
            try:
                headers = {"authorization": f"Bearer {INFER}"}
                connection.request("POST", "/v2/models/swapped/infer", QUESTION, headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                assert answer.status == 200, told
                assert told["outputs"][0]["data"] == [(1 + int(told["model_version"])) * v for v in (1, 2, 3, 4)]
                seen.add(told["model_version"])
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failed.append(repr(error))
                break
        connection.close()

    threads = [threading.Thread(target=client, args=(seen,)) for seen in versions]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(versions) or failed, "traffic")
        server.deploy("swapped", onnx_models.scale(3).SerializeToString())
        wait_for(lambda: all("2" in seen for seen in versions) or failed, "the new version")
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failed == []
    assert versions == [{"1", "2"}, {"1", "2"}]


def test_no_secret_is_anywhere(server: GuardedServer) -> None:
    """Not in a command line or environment of any process, in the log, or in the state folder."""
    server.ask(server.http_port, "POST", PATH, QUESTION, token=INFER)
    server.ask(server.http_port, "POST", PATH, b"{", token=STRAY)
    server.ask(server.control_port, "GET", "/v1/nothing", token=STRAY, pair=server.client_pair)
    secrets = [INFER, ADMIN, STRAY]
    places = {"log": server.log.read_bytes()}
    for process in server.processes():
        try:
            places[f"{process.pid} command line"] = "\0".join(process.cmdline()).encode()
            places[f"{process.pid} environment"] = json.dumps(process.environ()).encode()
        except psutil.Error:
            continue
    for file in server.state.rglob("*"):
        if file.is_file():
            places[str(file)] = file.read_bytes()
    assert len(places) > 10
    assert [name for name, data in places.items() if any(secret.encode() in data for secret in secrets)] == []


def test_tokens_change_without_a_restart(server: GuardedServer) -> None:
    """In the gateway and in the controller; a broken file changes nothing, and the log says where it is broken."""
    fresh = "fresh-0123456789abcdef"
    before = server.tokens.read_text()

    def status(port: int, path: str, token: str) -> int:
        return server.ask(
            port, "GET", path, token=token, pair=None if port == server.http_port else server.client_pair
        ).status

    try:
        write_tokens(server.tokens, f"infer,admin {fresh}\n")
        wait_for(lambda: status(server.http_port, "/v2", fresh) == 200, "the new token at the gateway")
        wait_for(lambda: status(server.control_port, "/v1/models", fresh) == 200, "the new token at the controller")
        assert status(server.http_port, "/v2", INFER) == 401
        write_tokens(server.tokens, f"infer {INFER}\nnonsense {ADMIN}\n")
        wait_for(
            lambda: status(server.http_port, "/v2", fresh) and "line 2: the first word" in server.tail(), "the log"
        )
        assert status(server.http_port, "/v2", fresh) == 200
        assert status(server.http_port, "/v2", INFER) == 401
    finally:
        write_tokens(server.tokens, before)
        wait_for(lambda: status(server.http_port, "/v2", INFER) == 200, "the old token")
        wait_for(lambda: status(server.control_port, "/v1/models", ADMIN) == 200, "the old token")


def test_tokens_without_tls_on_loopback(tmp_path: Path) -> None:
    """Two gateways ask for a token each; the load generator shows one, and is refused without."""
    with GuardedServer(tmp_path, encrypted=False, gateways=2) as server:
        server.deploy("double", onnx_models.scale(2).SerializeToString())
        for token, status in ((INFER, 200), (ADMIN, 403), ("", 401)):
            statuses = {server.ask(server.http_port, "POST", PATH, QUESTION, token=token).status for _ in range(20)}
            assert statuses == {status}
        command = [sys.executable, "-m", "changeover.cli", "bench", "double", "--requests", "200", "--connections", "4"]
        command += ["--url", f"http://127.0.0.1:{server.http_port}", "-o", "json"]
        good = run([*command, "--token-file", str(server.tokens)])
        assert good.returncode == 0, good.stderr
        assert json.loads(good.stdout)["failed"] == 0
        refused = run(command)
        assert refused.returncode == 1
        assert "[unauthenticated]" in refused.stderr
