"""Outputs in the form asked for, and in the model's order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from changeover.gateway.delivery import delivered
from changeover.protocol.oip import RequestedOutput
from changeover.tensors import Datatype, Tensor
from tests.gateway.stage import Request, entry, question, stage


def test_outputs_are_classified_for_who_asks() -> None:
    """In JSON and with other answers beside it in the same batch."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            plain = here.ask(question([1, 4, 3, 2]))
            top = here.ask(question([1, 4, 3, 2], outputs=[{"name": "y", "parameters": {"classification": 2}}]))
            await worker.serve_one(2.0)
            await here.answered(plain, top)
            assert plain.values == [2, 8, 6, 4]
            (output,) = top.json()["outputs"]
            assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
            assert output["data"] == ["8.000000:1", "6.000000:2"]

    asyncio.run(scenario())


def test_what_cannot_be_answered_is_refused_before_any_work() -> None:
    """An unknown output, and no number of classes."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            unknown = here.ask(question(outputs=[{"name": "w"}]))
            wrong = here.ask(question(outputs=[{"name": "y", "parameters": {"classification": -2}}]))
            assert (unknown.status, unknown.json()["reason"]) == (400, "unknown_output")
            assert (wrong.status, wrong.json()["reason"]) == (400, "wrong_type")
            assert not here.pipeline.in_flight

    asyncio.run(scenario())


def test_a_body_without_a_header_is_the_input() -> None:
    """`Inference-Header-Content-Length: 0`; the answer is binary, with a header of its own."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            header = {b"inference-header-content-length": b"0"}
            raw = here.ask(Request(b"\x00\x00\x80\x3f" * 4, header))
            short = here.ask(Request(b"\x00\x00\x80\x3f" * 3, header))
            assert (short.status, short.json()["reason"]) == (400, "shape_data_mismatch")
            await worker.serve_one(2.0)
            await here.answered(raw)
            assert raw.status == 200
            assert raw.answer.endswith(b"\x00\x00\x00\x40" * 4)
            assert b"inference-header-content-length" in raw.head

    asyncio.run(scenario())


def test_outputs_come_in_the_models_order() -> None:
    """Whatever the order they are asked for in, and no other ones."""
    target: Any = SimpleNamespace()
    outputs = [Tensor(name, Datatype.INT8, (1,), name.encode()) for name in "abc"]
    asked = [RequestedOutput(name, binary=True) for name in "ca"]
    assert [tensor.name for tensor in delivered(asked, target, outputs, None)] == ["a", "c"]


def test_an_output_asked_for_twice_in_the_same_way_is_one() -> None:
    """As in Triton; in two ways it is a contradiction."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            twice = here.ask(question(outputs=[{"name": "y"}, {"name": "y"}]))
            await worker.serve_one(2.0)
            await here.answered(twice)
            assert [output["name"] for output in twice.json()["outputs"]] == ["y"]
            forms = [{"name": "y", "parameters": {"binary_data": form}} for form in (True, False)]
            wrong = here.ask(question(outputs=forms))
            assert (wrong.status, wrong.json()["reason"]) == (400, "duplicate_output")

    asyncio.run(scenario())
