"""The bodies that are described are those that are sent: a real server's answers have these types and no others."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest

from changeover.gateway import bodies
from changeover.openapi.operation import Failure
from changeover.tensors import Datatype
from changeover.testing import Server, exchange

ASK = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def test_the_datatypes_are_the_protocols() -> None:
    """All of them, by name."""
    assert set(get_args(bodies.Datatype)) == {datatype.name for datatype in Datatype}


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v2", None, bodies.ServerMetadata),
        ("/v2/health/live", None, bodies.Live),
        ("/v2/health/ready", None, bodies.Ready),
        ("/v2/models", None, bodies.ModelNames),
        ("/v2/models/double", None, bodies.ModelMetadata),
        ("/v2/models/double/ready", None, bodies.ModelReady),
        ("/v2/models/double/versions/1", None, bodies.ModelMetadata),
        ("/v2/models/double/stats", None, bodies.Statistics),
        ("/v2/models/stats", None, bodies.Statistics),
        ("/v2/logging", None, bodies.LogSettings),
        ("/v2/logging", {"log_verbose_level": 0}, bodies.LogSettings),
        ("/v2/models/double/infer", {**ASK, "id": "q"}, bodies.InferenceAnswer),
        ("/v2/models/nobody", None, Failure),
        ("/v2/models/double/infer", {}, Failure),
        ("/v2/nothing", None, Failure),
    ],
)
def test_an_answer_has_the_type_that_is_described(
    shared_server: Server, path: str, body: dict[str, Any] | None, kind: type[msgspec.Struct]
) -> None:
    """No member is missing, and none is there that nobody told of."""
    sent = None if body is None else json.dumps(body).encode()
    answer = exchange(shared_server.http_port, "GET" if sent is None else "POST", path, sent)
    assert msgspec.json.decode(answer.body, type=kind, strict=True)


def test_a_request_is_what_is_described() -> None:
    """One that the server takes has the type."""
    assert msgspec.convert(ASK, bodies.InferenceRequest).inputs[0].name == "x"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"inputs": [{"name": "x"}]}, bodies.InferenceRequest)
