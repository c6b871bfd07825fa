"""Asks a server, and turns its answer into facts that can be compared: what must differ between servers is left out."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from compatibility.forms import LENGTH, Grpc, Http
from compatibility.normal import normal
from compatibility.servers import Ports

PATIENCE = 30.0
SERVICE = "inference.GRPCInferenceService"
Facts = dict[str, Any]
Ask = Callable[[Http | Grpc], Facts]


@contextmanager
def asker(ports: Ports) -> Iterator[Ask]:
    """What asks one server."""
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        yield lambda asked: _http(ports.http, asked) if isinstance(asked, Http) else _grpc(channel, asked)


def _http(port: int, asked: Http) -> Facts:
    until = time.monotonic() + PATIENCE
    while True:
        answer, body = _once(port, asked)
        if asked.until in (None, answer.status) or time.monotonic() > until:
            return _facts(asked, answer, body)
        time.sleep(0.05)


def _once(port: int, asked: Http) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def _facts(asked: Http, answer: http.client.HTTPResponse, body: bytes) -> Facts:
    coding = answer.getheader("Content-Encoding")
    body = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(coding or "", bytes)(body)
    facts: Facts = {"status": answer.status, "content-encoding": coding}
    if answer.status >= 400:
        return {**facts, **_error(answer, body)}
    length = answer.getheader(LENGTH)
    head = body[: int(length)] if length else body
    facts["content-type"] = (answer.getheader("Content-Type") or "").partition(";")[0] if body else None
    facts["header length is told"] = length is not None
    try:
        told = json.loads(head) if head else None
    except ValueError:
        return {**facts, "body": repr(head[:80])}
    if isinstance(told, dict) and "outputs" in told and "model_name" in told:
        _unpack(told, body[len(head) :])
    return {**facts, "body": normal(asked.path, told)}


def _error(answer: http.client.HTTPResponse, body: bytes) -> Facts:
    """An error's words may differ, and one that has none says nothing of what others must say."""
    if not body:
        return {"error": "", "content-type": None}
    try:
        told = json.loads(body)
    except ValueError:
        return {"error": None, "words": repr(body[:200])}
    text = told.get("error") if isinstance(told, dict) else None
    kind = (answer.getheader("Content-Type") or "").partition(";")[0]
    return {"error": isinstance(text, str) and bool(text), "words": text, "content-type": kind}


def _unpack(told: dict[str, Any], raw: bytes) -> None:
    """Put the binary outputs into the JSON as lists, so that every form compares by values."""
    for output in told["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            output["bytes"], raw = raw[:size].hex(), raw[size:]
        elif output.get("datatype") == "FP32":
            output["data"] = [float(np.float32(v)) for v in output["data"]]
    if raw:
        told["left over"] = len(raw)


def _grpc(channel: grpc.Channel, asked: Grpc) -> Facts:
    """In protobuf's JSON form, with the names of the schema; raw contents are base64 in it."""
    method = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name.get(asked.method)
    kinds = ("ServerLiveRequest", "ServerLiveResponse")
    if method is not None:
        kinds = (method.input_type.name, method.output_type.name)
    request = json_format.ParseDict(dict(asked.message), getattr(service_pb2, kinds[0])())
    if asked.raw:
        request.raw_input_contents.extend(asked.raw)
    path, data = f"/{SERVICE}/{asked.method}", request.SerializeToString()
    try:
        if method is not None and method.client_streaming:
            data = next(channel.stream_stream(path)(iter([data]), timeout=PATIENCE))
        else:
            data = channel.unary_unary(path)(data, timeout=PATIENCE)
        answer = getattr(service_pb2, kinds[1]).FromString(data)
    except grpc.RpcError as error:
        return {"code": error.code().name, "error": bool(error.details()) or "", "words": error.details()}
    except DecodeError as error:
        return {"code": "OK", "body": str(error)}
    told = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    if told.get("error_message"):
        return {"code": "OK", "error": True, "words": told["error_message"]}
    return {"code": "OK", "body": normal(asked.method, told)}
