"""Requests of gRPC as protobuf's own classes make them."""

from __future__ import annotations

from typing import Any

from changeover.protocol.oip_grpc import Cut, GrpcAsked
from tests.protocol.grpc_messages import message

Request, Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")


def given_parameters(parameters: Any, values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give a message its parameters; gives what they are as plain values."""
    for name, choice in values.items():
        for field, value in choice.items():
            setattr(parameters[name], field, value)
    return {name: next(iter(choice.values())) for name, choice in values.items()}


def asked(request: Any) -> GrpcAsked:
    """What is read of a request."""
    return decode(memoryview(request.SerializeToString()))


def decode(body: memoryview) -> GrpcAsked:
    """What is read of a message."""
    return Cut(body).decode()


def route_of(body: memoryview) -> tuple[str, str]:
    """Whom it asks."""
    return Cut(body).route()


def one(datatype: str = "FP32", shape: tuple[int, ...] = (1,), raw: bytes | None = None, **contents: Any) -> Any:
    """A request for `m` with one input, `x`."""
    request = Request(model_name="m")
    given = request.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        request.raw_input_contents.append(raw)
    for name, values in contents.items():
        getattr(given.contents, name).extend(values)
    return request


def changed(change: Any, request: Any) -> Any:
    """A request after a change."""
    change(request)
    return request


def place(region: str, size: int, offset: int = 0) -> dict[str, dict[str, Any]]:
    """The parameters with which tritonclient tells where a tensor is."""
    whole = {"shared_memory_region": {"string_param": region}, "shared_memory_byte_size": {"int64_param": size}}
    return whole | ({"shared_memory_offset": {"int64_param": offset}} if offset else {})


def placed(size: int, datatype: str = "FP32", **more: Any) -> Any:
    """A request whose only input is in shared memory."""
    return changed(
        lambda request: given_parameters(request.inputs[0].parameters, place("r", size)), one(datatype, **more)
    )
