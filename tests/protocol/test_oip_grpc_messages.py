"""The small messages of gRPC's services: plain values against protobuf's own classes, and garbage."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.errors import CallerError, InvalidRequest, TooLarge
from changeover.protocol import model_config
from changeover.protocol.oip_grpc_messages import as_parameters, chosen, decode, encode
from changeover.protocol.oip_grpc_schema import ENUMS, MESSAGES, METHODS, Slot, Table
from changeover.protocol.oip_grpc_wire import MAX_FIELDS, write_bytes
from tests.protocol.grpc_messages import message

SMALL = sorted(table.name for table in MESSAGES.values() if not table.name.endswith("Entry"))
_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float": st.floats(-(2.0**99), 2.0**99, width=32).map(lambda value: value + 0.0),  # -0.0 is no default
    "double": st.floats(-(2.0**999), 2.0**999).map(lambda value: value + 0.0),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=5),
}


def _of_slot(slot: Slot, depth: int) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any]
    if slot.message is not None:
        if slot.is_map:
            entry = slot.message.slots
            return st.dictionaries(_of_slot(entry["key"], 0), _of_slot(entry["value"], depth), max_size=2)
        one = _values(slot.table, depth - 1) if depth else st.just({})
    elif slot.kind in _SCALARS:
        one = _SCALARS[slot.kind]
    else:
        one = st.sampled_from(list(ENUMS[slot.kind]))
    return st.lists(one, max_size=2) if slot.many else one


def _values(table: Table, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Values of a message, at most one of its one-ofs; messages lie `depth` deep in it, further in they are empty."""
    fields = {name: _of_slot(slot, depth) for name, slot in table.slots.items() if not slot.rivals}
    choices = [st.just(dict[str, Any]())]
    choices += [
        st.fixed_dictionaries({name: _of_slot(table.slots[name], depth)})
        for members in table.one_ofs.values()
        for name in members
    ]
    return st.tuples(st.fixed_dictionaries({}, optional=fields), st.one_of(choices)).map(lambda both: both[0] | both[1])


def _plain(value: Any, slot: Slot) -> Any:
    """A value of protobuf's classes as ours."""
    if slot.is_map:
        return {key: _plain(item, slot.table.slots["value"]) for key, item in value.items()}
    if slot.many:
        return [_one(item, slot) for item in value]
    return _one(value, slot)


def _one(value: Any, slot: Slot) -> Any:
    if slot.message is not None:
        return _as_dict(value, slot.table)
    if slot.kind not in _SCALARS:
        return next(name for name, number in ENUMS[slot.kind].items() if number == value)
    return value


def _as_dict(peer: Any, table: Table) -> dict[str, Any]:
    """What `decode` should give for a message of protobuf's classes."""
    return {
        name: _plain(getattr(peer, name), slot)
        for name, slot in table.slots.items()
        if name in table.defaults or peer.HasField(name)
    }


def _listed(values: Any) -> Any:
    """Values with lists for tuples and dicts for read-only ones, to compare."""
    if isinstance(values, dict) or hasattr(values, "keys"):
        return {key: _listed(item) for key, item in values.items()}
    if isinstance(values, list | tuple):
        return [_listed(item) for item in values]
    return bytes(values) if isinstance(values, memoryview) else values


@settings(max_examples=20)
@pytest.mark.parametrize("name", SMALL)
@given(data=st.data())
def test_messages_come_through(name: str, data: st.DataObject) -> None:
    """What is written here protobuf's own classes read, what they write is read here, for every message."""
    values = data.draw(_values(MESSAGES[name], 1))
    peer = message(name).FromString(encode(name, values))
    assert _listed(decode(name, memoryview(peer.SerializeToString()))) == _as_dict(peer, MESSAGES[name])
    assert peer == json_format.ParseDict(_json(values, MESSAGES[name]), message(name)())


def _json(values: Any, table: Table) -> Any:
    """Values in protobuf's JSON form, which writes bytes in base64."""

    def one(value: Any, slot: Slot) -> Any:
        if slot.message is not None:
            return _json(value, slot.table)
        return base64.b64encode(value).decode() if slot.kind == "bytes" else value

    written: dict[str, Any] = {}
    for name, value in values.items():
        slot = table.slots[name]
        if slot.is_map:
            written[name] = {
                str(key).lower() if isinstance(key, bool) else key: one(item, slot.table.slots["value"])
                for key, item in value.items()
            }
        else:
            written[name] = [one(item, slot) for item in value] if slot.many else one(value, slot)
    return written


def test_metadata_of_a_model() -> None:
    """The dict that the HTTP port answers is what the gRPC port answers."""
    values = {
        "name": "mnist",
        "versions": ["3", "4"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 28]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": (-1,)}],
    }
    peer = message("inference.ModelMetadataResponse").FromString(encode("inference.ModelMetadataResponse", values))
    assert list(peer.inputs[0].shape) == [-1, 28]
    assert (list(peer.versions), peer.outputs[0].datatype) == (["3", "4"], "BYTES")


def test_what_is_not_there_has_its_default() -> None:
    """A request without fields is one with empty ones."""
    assert decode("inference.ModelReadyRequest", memoryview(b"")) == {"name": "", "version": ""}
    assert encode("inference.ModelReadyResponse", {"ready": False}) == b""
    assert encode("inference.ModelReadyResponse", {"ready": None}) == b""


def test_the_last_of_a_one_of_counts() -> None:
    """A member of a one-of puts the others out; a value that comes again replaces."""
    first, second = (encode("inference.InferParameter", value) for value in ({"bool_param": True}, {"int64_param": 0}))
    assert decode("inference.InferParameter", memoryview(first + second)) == {"int64_param": 0}
    twice = encode("inference.ModelReadyRequest", {"name": "a"}) + encode("inference.ModelReadyRequest", {"name": "b"})
    assert decode("inference.ModelReadyRequest", memoryview(twice))["name"] == "b"


def test_plain_parameters() -> None:
    """Parameters as one-ofs are plain values, and the other way round; one without a value is refused."""
    plain = {"a": True, "b": -1, "c": 0.5, "d": "x"}
    peer = message("inference.ModelInferResponse").FromString(
        encode("inference.ModelInferResponse", {"parameters": as_parameters(plain)})
    )
    assert [peer.parameters[name].WhichOneof("parameter_choice") for name in plain] == [
        "bool_param", "int64_param", "double_param", "string_param"
    ]  # fmt: skip
    assert chosen(as_parameters(plain), "x") == plain
    with pytest.raises(InvalidRequest, match=r"x.e: expected a string, a number, true or false, got null"):
        chosen({"e": {}}, "x")


def test_a_model_configuration() -> None:
    """The configuration that the HTTP port answers, with texts for the numbers that JSON writes so."""
    values = {
        "name": "mnist",
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1, 28, 28], "reshape": {"shape": [784]}}],
        "version_policy": {"specific": {"versions": ["3", 4]}},
        "dynamic_batching": {"priority_queue_policy": {"2": {"timeout_action": "DELAY"}}},
        "parameters": {"a": {"string_value": "b"}},
        "instance_group": [{"kind": "KIND_CPU", "count": 2}],
        "batch_input": [],
    }
    body = encode("inference.ModelConfigResponse", {"config": values})
    config = message("inference.ModelConfigResponse").FromString(body).config
    assert (config.input[0].data_type, list(config.version_policy.specific.versions)) == (11, [3, 4])
    assert config.dynamic_batching.priority_queue_policy[2].timeout_action == 1
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"


def test_every_configuration_has_a_place() -> None:
    """Whatever `config.pbtxt` may say, the message has a field of that name for it."""
    _compare("ModelConfig", MESSAGES["inference.ModelConfig"])
    assert encode("inference.ModelConfigResponse", {"config": model_config.whole({"name": "m"})})


def _compare(name: str, table: Table) -> None:
    schema = model_config._SCHEMA[name]
    assert schema.keys() == table.slots.keys(), name
    for field, kind in schema.items():
        inner, slot = re.sub(r"[^A-Za-z]", "", kind), table.slots[field]
        if inner in model_config._SCHEMA:
            _compare(inner, slot.table.slots["value"].table if slot.is_map else slot.table)


def test_files_of_a_load_are_not_copied() -> None:
    """The files of a model that is loaded are views of the message."""
    request = message("inference.RepositoryModelLoadRequest")(model_name="m")
    request.parameters["file:1/model.onnx"].bytes_param = bytes(1000)
    request.parameters["config"].string_param = "{}"
    body = memoryview(request.SerializeToString())
    found = chosen(decode("inference.RepositoryModelLoadRequest", body)["parameters"], "parameters")
    assert found == {"file:1/model.onnx": bytes(1000), "config": "{}"}
    assert found["file:1/model.onnx"].obj is body.obj


def test_settings_are_maps_of_one_ofs() -> None:
    """Log settings come with their values' kinds, trace settings as lists."""
    values = {"settings": {"log_info": {"bool_param": True}, "log_verbose_level": {"uint32_param": 0}}}
    body = encode("inference.LogSettingsResponse", values)
    assert decode("inference.LogSettingsResponse", memoryview(body)) == values
    traced = {"settings": {"trace_level": {"value": ["OFF"]}}}
    peer = message("inference.TraceSettingResponse").FromString(encode("inference.TraceSettingResponse", traced))
    assert list(peer.settings["trace_level"].value) == ["OFF"]


def test_an_unknown_name_is_a_defect() -> None:
    """A value that has no place in its message is not left out in silence."""
    with pytest.raises(ValueError, match="has no speed"):
        encode("inference.ModelReadyResponse", {"ready": True, "speed": 1})


def test_enums_have_names() -> None:
    """The state of health goes by name; a number without one stays a number."""
    assert encode("grpc.health.v1.HealthCheckResponse", {"status": "SERVING"}) == b"\x08\x01"
    assert decode("grpc.health.v1.HealthCheckResponse", memoryview(b"\x08\x02")) == {"status": "NOT_SERVING"}
    assert decode("grpc.health.v1.HealthCheckResponse", memoryview(b"\x08\x63")) == {"status": 99}


def test_floods_are_refused() -> None:
    """Packed numbers count as fields do, and entries of a map too."""
    for body in (write_bytes(3, bytes(MAX_FIELDS)), write_bytes(3, b"\1") * (MAX_FIELDS // 2 + 1)):
        with pytest.raises(TooLarge) as error:
            decode("inference.ModelMetadataResponse.TensorMetadata", memoryview(body))
        assert error.value.reason == "too_many_fields"


@pytest.mark.parametrize("body", [b"\x08\x01", b"\x0a\x01\xff", b"\x0a\x02a", b"\x1b"], ids=bytes.hex)
def test_malformed_messages_are_refused(body: bytes) -> None:
    """A field in another form, a text that is not UTF-8, a length over the end, a group."""
    with pytest.raises(InvalidRequest) as error:
        decode("inference.ModelReadyRequest", memoryview(body))
    assert error.value.reason == "malformed_protobuf"


@settings(max_examples=300)
@given(st.sampled_from(sorted({method.request for method in METHODS.values()})), st.binary(max_size=40))
def test_garbage_only_raises_our_errors(name: str, body: bytes) -> None:
    """Random bytes are the message that protobuf's own classes read, or are refused."""
    try:
        values = decode(name, memoryview(body))
        peer = message(name).FromString(body)
    except (CallerError, DecodeError):  # protobuf takes no tags and lengths that are padded to over five bytes
        return
    assert _listed(values) == _as_dict(peer, MESSAGES[name])
