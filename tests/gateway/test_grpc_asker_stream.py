"""Messages of a stream over gRPC: each is an inference, and what is wrong with one is a message too."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from changeover.gateway.door.http2.fields import Status
from tests.gateway.calls import INFERENCE, FakeCall, answered, inference
from tests.gateway.extended import take as ask
from tests.gateway.stage import entry, stage


def streamed(asked: FakeCall) -> FakeCall:
    """The same question as a message of a stream."""
    asked.path = INFERENCE + "ModelStreamInfer"
    return asked


def test_a_message_of_a_stream_is_an_inference() -> None:
    """Its answer is the one of a call, inside another message."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(3, entry(7, "1"))
            asked = ask(here, streamed(inference(id="mine")))
            await worker.serve_one(2.0)
            await answered(here, asked)
            error, told = asked.streamed
            assert (asked.status, error, told["id"], told["model_version"]) == (Status.OK, "", "mine", "1")
            numbers = np.frombuffer(told["raw_output_contents"][0], np.float32)
            assert (numbers.tolist(), asked.fields) == ([2, 4, 6, 8], {})
            assert told["parameters"]["triton_final_response"] == {"bool_param": True}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("asked", "reason", "name"),
    [
        (inference("nobody", id="mine"), "model_not_found", ""),
        (inference(id="mine", outputs=[{"name": "z"}]), "unknown_output", "mine"),
        (inference(id="mine", timeout=0.0), "deadline_exceeded", "mine"),
        (FakeCall(memoryview(b"\xff\xff\xff")), "malformed_protobuf", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_of_a_stream_are_messages(asked: FakeCall, reason: str, name: str) -> None:
    """The stream goes on; the message says whose request it was, as far as that was read."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 1)
            here.serve(1, entry(7, "1"))
            await answered(here, ask(here, streamed(asked)))
            error, told = asked.streamed
            assert (asked.status, bool(error), told["id"]) == (Status.OK, True, name)
            assert told["parameters"]["changeover-reason"] == {"string_param": reason}

    asyncio.run(scenario())
