"""Triton's extensions from outside, by Triton's own client, with two gateways behind the port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from changeover.testing import Server, exchange
from changeover.testing.waiting import wait_for
from tests import onnx_models

CONFIG = """
name: "top"
platform: "onnxruntime_onnx"
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "classes.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
optimization { priority: PRIORITY_MAX }
"""


RESHAPED = """
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4, 1 ] reshape { shape: [ 4 ] } } ]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways; `double` is `y = 2 x`."""
    with Server(tmp_path_factory.mktemp("extensions"), gateways=2, shared_memory=True) as made:
        folder = made.repository / "top"
        folder.mkdir()
        (folder / "config.pbtxt").write_text(CONFIG)
        (folder / "classes.txt").write_text("apple\npear\nplum\nquince\n")
        made.deploy("double", onnx_models.scale(2).SerializeToString())
        made.deploy("top", onnx_models.scale(2).SerializeToString())
        (made.repository / "reshaped").mkdir()
        (made.repository / "reshaped" / "config.pbtxt").write_text(RESHAPED)
        made.deploy("reshaped", onnx_models.scale(2).SerializeToString())
        yield made


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """Triton's client, with one connection."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}") as made:
        yield made


def row(rows: int = 1) -> list[Any]:
    """An input of some rows."""
    put = triton.InferInput("x", [rows, 4], "FP32")
    put.set_data_from_numpy(np.tile(np.array([1, 4, 3, 2], np.float32), (rows, 1)))
    return [put]


def test_statistics_are_of_all_gateways(server: Server, client: triton.InferenceServerClient) -> None:
    """Twenty connections, spread over two gateways, are twenty requests for whoever asks on any of them."""

    def stats() -> dict[str, Any]:
        (found,) = client.get_inference_statistics("double", "1")["model_stats"]
        assert (found["name"], found["version"]) == ("double", "1")
        return dict(found)

    before = stats()
    for rows in range(1, 21):
        with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}") as other:
            other.infer("double", row(1 + rows % 2))
    requests = before["inference_stats"]["success"]["count"] + 20
    wait_for(lambda: stats()["inference_stats"]["success"]["count"] == requests, "the count of both gateways")
    after = stats()
    assert after["inference_count"] == before["inference_count"] + 30
    assert {b["batch_size"] for b in after["batch_stats"]} == {1, 2}
    assert after["last_inference"] > before["last_inference"]
    for part in ("queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][part]["count"] == requests
        assert after["inference_stats"][part]["ns"] > 0
    everything = client.get_inference_statistics()["model_stats"]
    assert [(s["name"], s["version"]) for s in everything] == [
        ("double", "1"), ("reshaped", "1"), ("top", "1"),
    ]  # fmt: skip
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get_inference_statistics("nobody")
    with pytest.raises(InferenceServerException, match="no version"):
        client.get_inference_statistics("double", "9")


def test_a_reshape_is_what_clients_see(server: Server, client: triton.InferenceServerClient) -> None:
    """They send and get the `dims` of the file, and are told of them; more rows than its batch takes are refused."""
    told = client.get_model_metadata("reshaped")
    assert (told["inputs"][0]["shape"], told["outputs"][0]["shape"]) == ([-1, 2, 2], [-1, 4, 1])
    put = triton.InferInput("x", [3, 2, 2], "FP32")
    put.set_data_from_numpy(np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    answer = client.infer("reshaped", [put]).as_numpy("y")
    assert np.array_equal(answer, 2 * np.arange(12, dtype=np.float32).reshape(3, 4, 1))
    shown = client.get_model_config("reshaped")["input"][0]
    assert (shown["dims"], shown["reshape"]) == ([2, 2], {"shape": [4]})
    with pytest.raises(InferenceServerException, match="max_batch_size"):
        client.infer("top", row(5))


def test_the_configuration_is_the_files_and_what_is_in_force(
    server: Server, client: triton.InferenceServerClient
) -> None:
    """Made of the signature where there is no file; what has no effect is named in the log."""
    made = client.get_model_config("double", "1")
    assert (made["backend"], made["max_batch_size"], made["input"][0]["dims"]) == ("onnxruntime", 32, [4])
    told = client.get_model_config("top")
    assert (told["max_batch_size"], told["instance_group"][0]["count"]) == (4, 2)
    assert told["input"] == made["input"]
    assert told["output"][0]["label_filename"] == "classes.txt"
    assert "top: config.pbtxt line 8: optimization has no effect here" in server.log.read_text()


def test_a_broken_configuration_refuses_the_version(server: Server) -> None:
    """With file and line, in the answer to the push."""
    folder = server.repository / "broken"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('name: "broken"\nmax_batchsize: 4\n')
    with pytest.raises(AssertionError, match=r"config\.pbtxt line 2: max_batchsize: there is no such field"):
        server.push("broken", onnx_models.scale(2).SerializeToString())


@pytest.mark.parametrize("binary", [True, False])
def test_classes_have_values_indexes_and_labels(client: triton.InferenceServerClient, binary: bool) -> None:
    """Of each row, in both forms; without a label file there are no labels."""
    asked = [triton.InferRequestedOutput("y", binary_data=binary, class_count=3)]
    top = client.infer("top", row(2), outputs=asked).as_numpy("y")
    first = [b"8.000000:1:pear", b"6.000000:2:plum", b"4.000000:3:quince"]
    assert [[e if isinstance(e, bytes) else e.encode() for e in found] for found in top.tolist()] == [first, first]
    plain = client.infer("double", row(), outputs=asked).as_numpy("y")
    assert plain.shape == (1, 3)
    assert (plain[0][0] if binary else plain[0][0].encode()) == b"8.000000:1"


def test_a_body_may_be_the_input_itself(server: Server) -> None:
    """And the client's own functions make requests and read answers that somebody else sends."""
    values = np.array([1, 4, 3, 2], np.float32)
    head = {"inference-header-content-length": "0"}
    reply = exchange(server.http_port, "POST", "/v2/models/double/infer", values.tobytes(), head)
    length = int(reply.headers["inference-header-content-length"])
    parse = triton.InferenceServerClient.parse_response_body
    assert parse(reply.body, header_length=length).as_numpy("y").tolist() == [(values * 2).tolist()]
    body, length = triton.InferenceServerClient.generate_request_body(row())
    reply = exchange(
        server.http_port,
        "POST",
        "/v2/models/double/infer",
        bytes(body),
        {"inference-header-content-length": str(length)},
    )
    length = int(reply.headers["inference-header-content-length"])
    assert parse(reply.body, header_length=length).as_numpy("y").tolist() == [(values * 2).tolist()]
    assert exchange(server.http_port, "POST", "/v2/models/double/infer", b"abc", head).status == 400


def test_trace_settings_are_read_and_stay(client: triton.InferenceServerClient) -> None:
    """Nothing is traced, and whoever asks for it is told."""
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    assert client.get_trace_settings("double") == client.update_trace_settings(settings={"trace_level": ["OFF"]})
    with pytest.raises(InferenceServerException, match="there is no tracing here"):
        client.update_trace_settings("double", {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"})


def test_log_settings_are_updated(client: triton.InferenceServerClient) -> None:
    """And answered by whichever gateway is asked."""
    before = client.get_log_settings()
    assert (before["log_verbose_level"], before["log_info"]) == (0, True)
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.get_log_settings()["log_verbose_level"] == 1
    assert client.update_log_settings(before) == before
    with pytest.raises(InferenceServerException, match="log_file"):
        client.update_log_settings({"log_file": "elsewhere.log"})


def test_tensors_go_through_shared_memory(server: Server, client: triton.InferenceServerClient) -> None:
    """As in Triton's own example, on connections to both gateways."""
    assert "system_shared_memory" in client.get_server_metadata()["extensions"]
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    handle = shm.create_shared_memory_region("mine", f"/extensions_{os.getpid()}", 64)
    try:
        shm.set_shared_memory_region(handle, [np.array([[1, 4, 3, 2]], np.float32)])
        client.register_system_shared_memory("mine", f"/extensions_{os.getpid()}", 64)
        (told,) = client.get_system_shared_memory_status("mine")
        assert (told["name"], told["byte_size"]) == ("mine", 64)
        put, got = triton.InferInput("x", [1, 4], "FP32"), triton.InferRequestedOutput("y")
        put.set_shared_memory("mine", 16)
        got.set_shared_memory("mine", 16, offset=32)
        for _ in range(10):  # each connection is another gateway's, or the same one's
            shm.set_shared_memory_region(handle, [np.zeros(8, np.float32)], offset=32)
            with triton.InferenceServerClient(f"127.0.0.1:{server.http_port}") as other:
                output = other.infer("double", [put], outputs=[got]).get_output("y")
            assert output["parameters"]["shared_memory_region"] == "mine"
            values = shm.get_contents_as_numpy(handle, np.float32, [1, 4], offset=32)
            assert values.tolist() == [[2, 8, 6, 4]]
        with pytest.raises(InferenceServerException, match="registered already"):
            client.register_system_shared_memory("mine", f"/extensions_{os.getpid()}", 64)
        with pytest.raises(InferenceServerException, match="GPU"):
            client.register_cuda_shared_memory("gpu", b"AAAA", 0, 64)
        client.unregister_system_shared_memory("mine")
        assert client.get_system_shared_memory_status() == []
        with pytest.raises(InferenceServerException, match="no shared memory region 'mine'"):
            client.infer("double", [put], outputs=[got])
    finally:
        del values
        shm.destroy_shared_memory_region(handle)


def test_tensors_of_grpc_go_through_shared_memory(server: Server) -> None:
    """The same over the other port, to both gateways: a region is registered once."""
    triton_grpc = pytest.importorskip("tritonclient.grpc")
    handle = shm.create_shared_memory_region("other", f"/extensions_grpc_{os.getpid()}", 64)
    address = f"127.0.0.1:{server.grpc_port}"
    try:
        shm.set_shared_memory_region(handle, [np.array([[1, 4, 3, 2]], np.float32)])
        put, got = triton_grpc.InferInput("x", [1, 4], "FP32"), triton_grpc.InferRequestedOutput("y")
        put.set_shared_memory("other", 16)
        got.set_shared_memory("other", 16, offset=32)
        with triton_grpc.InferenceServerClient(address) as client:
            client.register_system_shared_memory("other", f"/extensions_grpc_{os.getpid()}", 64)
            told = client.get_system_shared_memory_status("other", as_json=True)["regions"]["other"]
            assert int(told["byte_size"]) == 64
            assert client.update_log_settings({"log_info": True}, as_json=True)["settings"]["log_info"]
        for number in range(10):  # each connection is another gateway's, or the same one's
            shm.set_shared_memory_region(handle, [np.zeros(8, np.float32)], offset=32)
            own = [("grpc.use_local_subchannel_pool", 1), ("grpc.client_number", number)]
            with triton_grpc.InferenceServerClient(address, channel_args=own) as client:
                client.infer("double", [put], outputs=[got])
            values = shm.get_contents_as_numpy(handle, np.float32, [1, 4], offset=32)
            assert values.tolist() == [[2, 8, 6, 4]]
        with triton_grpc.InferenceServerClient(address) as client:
            client.unregister_system_shared_memory("other")
            with pytest.raises(InferenceServerException, match="no shared memory region 'other'"):
                client.infer("double", [put], outputs=[got])
    finally:
        del values
        shm.destroy_shared_memory_region(handle)
