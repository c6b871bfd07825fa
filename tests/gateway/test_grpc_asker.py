"""Inferences over gRPC: the same pipeline, codes and metadata instead of a status and headers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Internal,
    InvalidPlan,
    InvalidRequest,
    ModelNotReady,
    ModelRunFailed,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
)
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.grpc_asker import error_status, status_of
from tests.gateway.calls import FakeCall, answered, call, inference
from tests.gateway.extended import take as ask
from tests.gateway.stage import entry, stage


def test_an_answer_has_raw_contents_and_the_epoch() -> None:
    """Name, version and id are in the message, the epoch is in the metadata."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(3, entry(7, "1"))
            asked = ask(here, inference(rows=2, id="mine"))
            await worker.serve_one(2.0)
            await answered(here, asked)
            told = asked.values("ModelInferResponse")
            assert (asked.status, told["model_name"], told["model_version"], told["id"]) == (
                Status.OK,
                "m",
                "1",
                "mine",
            )
            assert [(o["name"], o["datatype"], list(o["shape"])) for o in told["outputs"]] == [("y", "FP32", [2, 4])]
            assert asked.numbers == [2, 4, 6, 8] * 2
            assert asked.fields == {b"changeover-epoch": b"3"}

    asyncio.run(scenario())


@pytest.mark.parametrize("how", [{"model_version": "2"}, {"headers": {b"changeover-version": b"2"}}])
def test_a_version_is_named_in_the_message_or_in_metadata(how: dict[str, Any]) -> None:
    """As over HTTP in the path or a header; one that does not serve is NOT_FOUND."""

    async def scenario() -> None:
        async with stage() as here:
            _, second = here.serve(1, entry(7, "1"), entry(8, "2"))
            asked = ask(here, inference(**how))
            await second.serve_one(5.0)
            await answered(here, asked)
            assert asked.numbers == [5, 10, 15, 20]
            wrong = ask(here, inference(model_version="9"))
            assert (wrong.status, wrong.reason) == (Status.NOT_FOUND, b"version_not_found")

    asyncio.run(scenario())


def test_a_key_always_gets_the_same_version() -> None:
    """`changeover-key` in the metadata, with the split of half to half."""

    async def scenario() -> None:
        async with stage() as here:
            first, second = here.serve(1, entry(7, "1"), entry(8, "2"), weight=5000)
            serving = [asyncio.create_task(w.serve(f)) for w, f in ((first, 2.0), (second, 3.0))]
            seen: dict[int, set[str]] = {}
            for number in range(60):
                key = number % 20
                asked = ask(here, inference(headers={b"changeover-key": b"client %d" % key}))
                await answered(here, asked)
                seen.setdefault(key, set()).add(asked.values("ModelInferResponse")["model_version"])
            assert {len(versions) for versions in seen.values()} == {1}
            assert set.union(*seen.values()) == {"1", "2"}
            for task in serving:
                task.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("limits", "waited"),
    [
        ({"timeout": 0.05}, "0.050"),
        ({"timeout": 0.05, "headers": {b"changeover-timeout": b"10s"}}, "0.050"),
        ({"timeout": 10.0, "headers": {b"changeover-timeout": b"50ms"}}, "0.050"),
        ({"timeout": 10.0, "parameters": {"timeout": {"int64_param": 50_000}}}, "0.050"),
        ({"headers": {b"changeover-timeout": b"50ms"}}, "0.050"),
    ],
)
def test_the_earliest_deadline_counts(limits: dict[str, Any], waited: str) -> None:
    """That of the call itself ends it in any case; the metadata and the parameter can only bring it forward."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            asked = ask(here, inference(**limits))
            await answered(here, asked)
            assert (asked.status, asked.reason) == (Status.DEADLINE_EXCEEDED, b"deadline_exceeded")
            assert asked.message == f"no answer within {waited} s"
            assert asked.fields[b"changeover-epoch"] == b"1"

    asyncio.run(scenario())


def test_a_call_may_wait_longer_than_the_default() -> None:
    """A caller that names a long time has it, like one that names it in a header."""

    async def scenario() -> None:
        async with stage(timeout=0.05) as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=20.0))
            patient, hasty = ask(here, inference(timeout=20.0)), ask(here, inference())
            await answered(here, hasty)
            assert (hasty.status, patient.status) == (Status.DEADLINE_EXCEEDED, None)
            await worker.serve_one(2.0)
            await answered(here, patient)
            assert patient.status is Status.OK

    asyncio.run(scenario())


def test_a_cancelled_call_leaves_the_queue() -> None:
    """Its rows are not run, nothing is answered, and no lease is left."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            running = [ask(here, inference()) for _ in range(3)]
            gone = ask(here, inference(rows=1))
            assert gone.abandoned is not None
            gone.abandoned()
            for _ in running:
                await worker.serve_one(2.0)
            await answered(here, *running)
            assert (gone.status, gone.abandoned, here.pipeline.in_flight) == (None, None, 0)
            assert here.models.targets[7].leases == 0
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(worker.take(), 0.05)

    asyncio.run(scenario())


def test_a_full_queue_says_when_to_come_again() -> None:
    """UNAVAILABLE, which clients retry, with the pause in their own word too; nothing of the message was decoded."""

    async def scenario() -> None:
        async with stage(queue_limit=2) as here:
            here.serve(1, entry(7, "1"))
            for _ in range(2):
                ask(here, inference())
            shed = ask(here, inference(inputs=[{"name": "x", "datatype": "nonsense", "shape": [-1]}]))
            assert (shed.status, shed.reason) == (Status.UNAVAILABLE, b"queue_full")
            assert (shed.fields[b"retry-after"], shed.fields[b"grpc-retry-pushback-ms"]) == (b"1", b"1000")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (inference("nobody"), Status.NOT_FOUND, b"model_not_found"),
        (inference(inputs=[]), Status.INVALID_ARGUMENT, b"binary_size_mismatch"),
        (inference(raw_input_contents=[bytes(15)]), Status.INVALID_ARGUMENT, b"shape_data_mismatch"),
        (
            inference(inputs=[{"name": "z", "datatype": "FP32", "shape": [1, 4]}]),
            Status.INVALID_ARGUMENT,
            b"unknown_input",
        ),
        (inference(outputs=[{"name": "z"}]), Status.INVALID_ARGUMENT, b"unknown_output"),
        (inference(headers={b"changeover-timeout": b"soon"}), Status.INVALID_ARGUMENT, b"invalid_timeout"),
        (FakeCall(memoryview(b"\xff\xff\xff")), Status.INVALID_ARGUMENT, b"malformed_protobuf"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_bad_input_is_told_apart(asked: FakeCall, status: Status, reason: bytes) -> None:
    """By code, and by the reason in the metadata; the model goes on."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 1)
            (worker,) = here.serve(1, entry(7, "1"))
            ask(here, asked)
            assert (asked.status, asked.reason) == (status, reason)
            good = ask(here, inference())
            await worker.serve_one(2.0)
            await answered(here, good)
            assert good.status is Status.OK
            assert here.models.targets[7].leases == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), Status.INVALID_ARGUMENT),
        (InvalidPlan("x"), Status.INVALID_ARGUMENT),
        (Unauthenticated("x"), Status.UNAUTHENTICATED),
        (Forbidden("x"), Status.PERMISSION_DENIED),
        (NotFound("x"), Status.NOT_FOUND),
        (TooLarge("x"), Status.RESOURCE_EXHAUSTED),
        (Conflict("x"), Status.FAILED_PRECONDITION),
        (Overloaded("x", retry_after=7), Status.UNAVAILABLE),
        (ModelNotReady("x", retry_after=7), Status.UNAVAILABLE),
        (DeadlineExceeded("x"), Status.DEADLINE_EXCEEDED),
        (ModelRunFailed("x"), Status.INTERNAL),
        (Internal("x"), Status.INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_a_code(error: ChangeoverError, status: Status) -> None:
    """And its reason in the metadata; those that pass say when to come again, the others do not."""
    assert status_of(error) is status
    asked = call("ModelInfer")
    error_status(asked, error)  # type: ignore[arg-type]
    assert (asked.status, asked.message, asked.reason) == (status, "x", error.reason.encode())
    again = status is Status.UNAVAILABLE
    assert asked.fields.get(b"retry-after") == (b"7" if again else None)
    assert asked.fields.get(b"grpc-retry-pushback-ms") == (b"7000" if again else None)


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_trace_of_a_call_comes_back() -> None:
    """In the metadata of good answers and errors; what is none does not."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(3, entry(7, "1"))
            for sent, passed in ((TRACE, TRACE), (b"nonsense", None)):
                good, bad = inference(), inference(model="nobody")
                good.headers[b"traceparent"] = bad.headers[b"traceparent"] = sent
                ask(here, good)
                ask(here, bad)
                await worker.serve_one(2.0)
                await answered(here, good, bad)
                assert good.fields.get(b"traceparent") == bad.fields.get(b"traceparent") == passed
                assert good.status is Status.OK
                assert bad.status is not Status.OK

    asyncio.run(scenario())
