"""Inferences over HTTP, as the pipeline sees them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from changeover.errors import InvalidRequest, NotFound, Overloaded, TooLarge
from changeover.gateway.http_asker import HttpAsker
from changeover.tensors import Datatype, Tensor
from tests.gateway.stage import Request, question


def asker(request: Request) -> HttpAsker:
    """Of a request that no door has seen."""
    return HttpAsker(request)  # type: ignore[arg-type]


def test_the_answer_has_the_form_that_was_asked_for() -> None:
    """JSON without a header length, binary with one, and the epoch in both."""
    outputs = [Tensor("y", Datatype.FP32, (1, 2), bytes(8))]
    for binary in (False, True):
        request = question(parameters={"binary_data_output": binary})
        one = asker(request)
        asked = one.decode()
        one.send(one.encode("m", "4", asked, outputs), 9)
        assert request.status == 200
        assert b"changeover-epoch: 9\r\n" in request.head
        assert (b"inference-header-content-length: " in request.head) is binary
        assert request.answer.endswith(bytes(8)) is binary


@pytest.mark.parametrize(("coding", "unpack"), [(b"gzip", gzip.decompress), (b"deflate", zlib.decompress)])
def test_an_answer_is_packed_for_who_asks_for_that_alone(coding: bytes, unpack: Callable[[bytes], bytes]) -> None:
    """The header's length is as before; a list, which libraries send unasked, and a large answer stay as they are."""
    outputs = [Tensor("y", Datatype.FP32, (1, 2), bytes(8))]

    def answer(wanted: bytes, given: list[Tensor]) -> Request:
        request = question(parameters={"binary_data_output": True}, headers={b"accept-encoding": wanted})
        one = asker(request)
        one.send(one.encode("m", "4", one.decode(), given), 9)
        return request

    packed, plain = answer(coding, outputs), answer(b"gzip, deflate", outputs)
    assert b"content-encoding: %s\r\n" % coding in packed.head
    assert (unpack(packed.answer), b"content-encoding" in plain.head) == (plain.answer, False)
    assert packed.head.startswith(plain.head)
    large = answer(coding, [Tensor("y", Datatype.FP32, (1, 70_000), bytes(280_000))])
    assert b"content-encoding" not in large.head


@pytest.mark.parametrize("text", [b"-1", b"x", b"1" * 11, b"999"])
def test_a_header_length_that_is_none_is_refused(text: bytes) -> None:
    """Whatever stands there, the sentence names the body's own length."""
    request = question(headers={b"inference-header-content-length": text})
    with pytest.raises(InvalidRequest, match=str(len(request.body))) as refused:
        asker(request).decode()
    assert refused.value.reason == "header_length_mismatch"


def test_a_packed_body_is_unpacked_and_counts_as_large_as_it_is() -> None:
    """The limit on JSON is of what came out."""
    plain = question()
    packed = Request(gzip.compress(bytes(plain.body)), {b"content-encoding": b"gzip"})
    one = asker(packed)
    assert one.decode().inputs[0].data == asker(plain).decode().inputs[0].data
    assert one.size >= len(plain.body)
    with pytest.raises(TooLarge) as refused:
        asker(Request(gzip.compress(b" " * ((4 << 20) + 1)), {b"content-encoding": b"gzip"})).decode()
    assert refused.value.reason == "json_too_large"


def test_what_comes_out_of_a_packed_body_is_the_doors_to_hold() -> None:
    """Once, however often it is asked for; what there is no room for is turned away."""
    plain = question()
    packed = Request(gzip.compress(bytes(plain.body)), {b"content-encoding": b"gzip"})
    one = asker(packed)
    assert one.decode().inputs[0].data == one.decode().inputs[0].data
    assert packed.held == len(plain.body)
    packed.held, packed.most_held = 0, len(plain.body) - 1
    with pytest.raises(Overloaded):
        asker(packed).decode()


def test_only_json_has_a_limit_of_its_own() -> None:
    """4 MiB of JSON are too many, as many bytes behind a short header are not."""
    most = 4 << 20
    for headers in ({}, {b"inference-header-content-length": b"%d" % (most + 1)}):
        with pytest.raises(TooLarge) as refused:
            asker(Request(b" " * (most + 1), headers)).decode()
        assert refused.value.reason == "json_too_large"
    columns = most // 4
    tensor = {"name": "x", "shape": [1, columns], "datatype": "FP32", "parameters": {"binary_data_size": columns * 4}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {b"inference-header-content-length": b"%d" % len(head)}
    asked = asker(Request(head + bytes(columns * 4), length)).decode()
    assert asked.inputs[0].shape == (1, columns)


def test_a_watched_client_is_told_of_once() -> None:
    """What was set last counts, and nothing after it was taken back."""
    request, gone = question(), []
    one = asker(request)
    one.watch(lambda: gone.append("first"))
    one.watch(lambda: gone.append("second"))
    assert request.abandoned is not None
    request.abandoned()
    one.watch(None)
    assert (gone, request.abandoned) == (["second"], None)


def test_an_error_has_its_status_and_reason() -> None:
    """With the epoch when a table had chosen already."""
    request = question()
    asker(request).fail(NotFound("not here", reason="unknown_output"), 5)
    assert (request.status, request.json()) == (404, {"error": "not here", "reason": "unknown_output"})
    assert b"changeover-epoch: 5\r\n" in request.head


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("sent", [TRACE, b"00-nonsense", None])
def test_the_trace_of_a_request_comes_back(sent: bytes | None) -> None:
    """In good answers and in errors; what is none does not."""
    headers = {} if sent is None else {b"traceparent": sent}
    for fails in (False, True):
        request = question(headers=headers)
        one = asker(request)
        if fails:
            one.fail(NotFound("nobody"), 9)
        else:
            one.send(one.encode("m", "4", one.decode(), []), 9)
        assert (b"traceparent: " + TRACE + b"\r\n" in request.head) is (sent == TRACE)
        assert (b"traceparent" in request.head) is (sent == TRACE)
