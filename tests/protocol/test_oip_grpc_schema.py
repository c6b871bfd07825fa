"""The `.proto` files: what is read from them, and that it is what the standard's clients were made of."""

from __future__ import annotations

import warnings

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from changeover.protocol.oip_grpc_schema import ENUMS, MESSAGES, METHODS, Method, read_files
from tests.protocol.grpc_messages import POOL

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2

PEER = service_pb2.DESCRIPTOR.pool


def _fields(descriptor: Descriptor) -> dict[int, tuple[object, ...]]:
    """What of each field is on the wire; its name is not."""
    return {field.number: _traits(field) for field in descriptor.fields}


def _traits(field: FieldDescriptor) -> tuple[object, ...]:
    one_of = field.containing_oneof and field.containing_oneof.name
    kind = field.message_type or field.enum_type
    return field.type, field.is_repeated, one_of, kind and kind.full_name


@pytest.mark.parametrize("name", sorted(name for name in MESSAGES if name.startswith("inference.")))
def test_messages_are_tritons(name: str) -> None:
    """A field of ours has the type and one-of that its number has in the messages of Triton's own client."""
    peer, own = _fields(PEER.FindMessageTypeByName(name)), _fields(POOL.FindMessageTypeByName(name))
    assert own == {number: traits for number, traits in peer.items() if number in own}


@pytest.mark.parametrize("name", sorted(name for name in ENUMS if name.startswith("inference.")))
def test_enums_are_tritons(name: str) -> None:
    """The values of an enum have the numbers they have in Triton's own client."""
    peer = {value.name: value.number for value in PEER.FindEnumTypeByName(name).values}
    assert ENUMS[name] == {value: number for value, number in peer.items() if value in ENUMS[name]}


def test_methods_are_tritons() -> None:
    """Each call takes and gives the messages that it does in Triton's own client."""
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    prefix = f"/{service.full_name}/"
    own = {path.removeprefix(prefix): method for path, method in METHODS.items() if path.startswith(prefix)}
    assert own == {
        name: Method(
            call.input_type.full_name, call.output_type.full_name, call.client_streaming, call.server_streaming
        )
        for name, call in service.methods_by_name.items()
        if name in own
    }


def test_the_basic_calls_are_there() -> None:
    """The calls of the Open Inference Protocol, and health, are declared."""
    calls = "ServerLive ServerReady ModelReady ServerMetadata ModelMetadata ModelInfer ModelStreamInfer"
    paths = {f"/inference.GRPCInferenceService/{call}" for call in calls.split()}
    assert paths | {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"} <= METHODS.keys()


@pytest.mark.parametrize(
    "line", ["optional bool a = 1;", "bool a = 1", "Unheard a = 1;", "map<string> a = 1;", "reserved 2;"]
)
def test_what_is_not_understood_is_refused(line: str) -> None:
    """A declaration that the reader does not know is an error, not left out."""
    with pytest.raises(ValueError, match=r"no declaration|unknown type"):
        read_files(f"package a;\nmessage M {{\n{line}\n}}\n")


def test_types_are_found_from_the_inside_outwards() -> None:
    """A message inside one is taken before one of the same name beside it."""
    text = "package a;\nmessage N {}\nmessage M {\nmessage N {\nbool x = 1;\n}\nN n = 1;\n}\nmessage O {\nN n = 1;\n}"
    tables, _, _ = read_files(text)
    assert [tables[name].slots["n"].table.name for name in ("a.M", "a.O")] == ["a.M.N", "a.N"]


def test_a_scalar_has_no_table() -> None:
    """Asking a scalar field for its message is a defect that shows."""
    with pytest.raises(ValueError, match="no message"):
        _ = MESSAGES["inference.ModelReadyRequest"].slots["name"].table
