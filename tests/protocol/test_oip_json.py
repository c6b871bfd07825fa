"""The JSON header of a request: what is read, what is refused, and with which reason."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from changeover.errors import InvalidRequest, TooLarge
from changeover.protocol.json_text import CUT_OUT
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, MAX_PARAMETERS, MAX_RANK, MAX_TENSORS, ParsedHeader
from changeover.protocol.oip_json import parse_header, parse_skeleton
from changeover.tensors import Datatype

BIG = "100000000000000000000"  # over 64 bits: sends the text through the second parser


def _input(**members: Any) -> dict[str, Any]:
    given = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | members
    return {name: value for name, value in given.items() if value is not ...}


def _halves(name: str) -> dict[str, Any]:
    """A binary input with a little more than half of the elements that all together may have."""
    count = MAX_BYTES_ELEMENTS // 2 + 1
    return _input(name=name, datatype="BYTES", shape=[count], data=..., parameters={"binary_data_size": 4 * count})


def _request(*inputs: Any, **members: Any) -> bytes:
    return json.dumps({"inputs": list(inputs) or [_input()], **members}).encode()


def _parse_both(text: bytes) -> ParsedHeader:
    """Parse with the first parser and with the second: both must see the same."""
    parsed = parse_header(text)
    assert parse_header(b'{"unknown":' + BIG.encode() + b"," + text[1:]) == parsed
    return parsed


def _refused(text: bytes) -> tuple[str, str]:
    seen = []
    for variant in (text, b'{"unknown":' + BIG.encode() + b"," + text[1:]):
        with pytest.raises((InvalidRequest, TooLarge)) as error:
            parse_header(variant)
        seen.append((error.value.reason, error.value.message))
    assert seen[0] == seen[1]
    return seen[0]


def test_a_small_request_is_read() -> None:
    """Name, datatype, shape and data arrive; what was not sent has its default."""
    parsed = _parse_both(_request())
    (head,) = parsed.inputs
    assert (head.name, head.datatype, head.shape) == ("x", Datatype.FP32, (2,))
    assert head.inline == b"\0\0\x80\x3f\0\0\0\x40"
    assert (parsed.id, parsed.outputs, dict(parsed.parameters)) == ("", None, {})
    assert (parsed.binary_output, parsed.payload_size, parsed.walked, parsed.cut_out) == (False, 0, (), None)


def test_binary_inputs_follow_each_other() -> None:
    """The places of raw bytes add up in the order of the inputs, JSON inputs between them left out."""
    text = _request(
        _input(name="a", data=..., parameters={"binary_data_size": 8}),
        _input(name="b"),
        _input(name="c", datatype="BYTES", data=..., parameters={"binary_data_size": 11.0}),
        _input(name="d", datatype="BOOL", data=..., parameters={"binary_data_size": 2}),
    )
    parsed = _parse_both(text)
    assert [head.part for head in parsed.inputs if head.inline is None] == [slice(0, 8), slice(8, 19), slice(19, 21)]
    assert (parsed.payload_size, parsed.walked) == (21, (2, 3))


def test_parameters_are_carried() -> None:
    """Strings, numbers and booleans of the request arrive as they were sent."""
    parameters = {"timeout": 5000, "priority": 1, "sequence_id": "abc", "sequence_start": True, "scale": 0.5}
    assert dict(_parse_both(_request(parameters=parameters)).parameters) == parameters


def test_outputs_take_the_default_form_or_their_own() -> None:
    """`binary_data` of an output goes before `binary_data_output` of the request."""
    outputs = [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "classification": 3}}]
    parsed = _parse_both(_request(outputs=outputs, parameters={"binary_data_output": True}))
    assert parsed.outputs is not None
    assert [(output.name, output.binary) for output in parsed.outputs] == [("a", True), ("b", False)]
    assert parsed.outputs[1].parameters["classification"] == 3
    assert parsed.binary_output


@pytest.mark.parametrize("members", [{"outputs": []}, {"outputs": None, "id": None, "parameters": None}])
def test_null_and_empty_count_as_absent(members: dict[str, Any]) -> None:
    """Clients that write all members, empty ones too, are understood."""
    parsed = _parse_both(_request(_input(parameters=None), **members))
    assert (parsed.outputs, parsed.id, dict(parsed.parameters)) == (None, "", {})


def test_unknown_members_are_ignored() -> None:
    """Members OIP does not know are passed over wherever they are, as Triton does."""
    parsed = _parse_both(_request(_input(extra={"data": [1]}), outputs=[{"name": "y", "datatype": "FP32"}], data=[[]]))
    assert [head.name for head in parsed.inputs] == ["x"]


def test_no_inputs_is_a_request() -> None:
    """Whether a model has inputs is not known here."""
    assert parse_header(b'{"inputs":[]}').inputs == ()


@pytest.mark.parametrize("shape", [[2], [1, 2], [2.0, 1], [2] + [1] * (MAX_RANK - 1)])
def test_shapes_are_integers(shape: list[float]) -> None:
    """1.0 counts as an integer; a tensor may have many dimensions."""
    assert _parse_both(_request(_input(shape=shape))).inputs[0].shape == tuple(map(int, shape))


@pytest.mark.parametrize(("shape", "data"), [([], [1]), ([0], []), ([2, 0], []), ([0], [[]])])
def test_scalars_and_empty_tensors(shape: list[int], data: list[Any]) -> None:
    """No dimension means one element, a 0 among them none."""
    head = _parse_both(_request(_input(shape=shape, data=data))).inputs[0]
    assert len(head.inline or b"") == (0 if 0 in shape else 4)


_SIZE = {"binary_data_size": 8}


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        (b"{}", "missing_field", "request.inputs"),
        (_request(_input(name=...)), "missing_field", "inputs[0].name"),
        (_request(_input(datatype=...)), "missing_field", "inputs[0].datatype"),
        (_request(_input(shape=...)), "missing_field", "inputs[0].shape"),
        (_request(_input(data=...)), "missing_field", "inputs[0].data"),
        (_request(outputs=[{}]), "missing_field", "outputs[0].name"),
        (_request(_input(), 5), "wrong_type", "inputs[1]: expected an object, got 5"),
        (_request([_input()]), "wrong_type", "inputs[0]: expected an object, got a list of 1"),
        (b'{"inputs":{}}', "wrong_type", "inputs: expected a list of objects, got an object"),
        (_request(_input(name=1)), "wrong_type", "inputs[0].name: expected a string, got 1"),
        (_request(_input(name=["x"])), "wrong_type", "inputs[0].name"),
        (_request(_input(datatype=7)), "wrong_type", "inputs[0].datatype"),
        (_request(_input(data={"a": 1})), "wrong_type", "inputs[0].data: expected a list, got an object"),
        (_request(_input(parameters=[])), "wrong_type", "inputs[0].parameters: expected an object"),
        (_request(id=5), "wrong_type", "request.id"),
        (_request(outputs="y"), "wrong_type", "outputs"),
        (_request(outputs=["y"]), "wrong_type", "outputs[0]"),
        (_request(parameters={"timeout": [1]}), "wrong_type", "request.parameters.timeout"),
        (_request(parameters={"timeout": None}), "wrong_type", "got null"),
        (_request(parameters={"timeout": {}}), "wrong_type", "got an object"),
        (_request(parameters={"binary_data_output": 1}), "wrong_type", "request.parameters.binary_data_output"),
        (
            _request(outputs=[{"name": "y", "parameters": {"binary_data": "no"}}]),
            "wrong_type",
            "outputs[0].parameters.b",
        ),
        (_request(_input(datatype="FP8")), "unknown_datatype", "BOOL, UINT8"),
        (_request(_input(datatype="fp32")), "unknown_datatype", "got 'fp32'"),
        (_request(_input(shape=2)), "invalid_shape", "inputs[0].shape: expected a list"),
        (_request(_input(shape=[-1, 2])), "invalid_shape", "inputs[0].shape[0]: expected an integer >= 0, got -1"),
        (_request(_input(shape=[2, 0.5])), "invalid_shape", "inputs[0].shape[1]"),
        (_request(_input(shape=[True, 2])), "invalid_shape", "got true"),
        (_request(_input(shape=["2"])), "invalid_shape", "got '2'"),
        (_request(_input(shape=[[2]])), "invalid_shape", "got a list of 1"),
        (_request(_input(shape=[1] * (MAX_RANK + 1))), "invalid_shape", f"at most {MAX_RANK} dimensions"),
        (_request(_input(shape=[2**32, 2**32])), "invalid_shape", "elements"),
        (_request(_input(shape=[2**63])), "invalid_shape", "elements"),
        (_request(_input(shape=[0, 2**63], data=[])), "invalid_shape", "elements"),
        (_request(_input(shape=[1e300])), "invalid_shape", "elements"),
        (_request(_input(shape=[3])), "shape_data_mismatch", "expected 3 elements as the shape says, got 2"),
        (_request(_input(data=..., parameters={"binary_data_size": 7})), "shape_data_mismatch", "8 bytes (2 x FP32)"),
        (_request(_input(data=..., parameters={"binary_data_size": 9})), "shape_data_mismatch", "got 9"),
        (
            _request(_input(datatype="BYTES", data=..., parameters={"binary_data_size": 7})),
            "shape_data_mismatch",
            "8 bytes or more (2 x BYTES)",
        ),
        (_request(_input(data=..., parameters={"binary_data_size": -8})), "wrong_type", "an integer >= 0, got -8"),
        (_request(_input(data=..., parameters={"binary_data_size": "8"})), "wrong_type", "binary_data_size"),
        (_request(_input(data=..., parameters={"binary_data_size": True})), "wrong_type", "binary_data_size"),
        (_request(_input(parameters=_SIZE)), "conflicting_data", "got both"),
        (_request(_input(), _input()), "duplicate_input", "inputs[1].name: the input 'x' is given twice"),
        (
            _request(outputs=[{"name": "y"}, {"name": "y", "parameters": {"a": 1}}]),
            "duplicate_output",
            "outputs[1].name",
        ),
        (_request(_input(parameters={"shared_memory_region": "r"})), "missing_field", "inputs[0]"),
        (
            _request(outputs=[{"name": "y", "parameters": {"shared_memory_region": "r"}}]),
            "missing_field",
            "outputs[0]",
        ),
        (_request(*[_input(name=str(i)) for i in range(MAX_TENSORS + 1)]), "too_many_tensors", "inputs: at most"),
        (_request(outputs=[{"name": str(i)} for i in range(MAX_TENSORS + 1)]), "too_many_tensors", "outputs"),
        (_request(parameters={str(i): i for i in range(MAX_PARAMETERS + 1)}), "too_many_parameters", "at most 256"),
        (_request(_input(datatype="BYTES", shape=[MAX_BYTES_ELEMENTS + 1])), "too_many_elements", "BYTES"),
        (_request(*[_halves(name) for name in "ab"]), "too_many_elements", "inputs[1].shape: all BYTES"),
        (_request(_input(data=[1, 1e39])), "value_out_of_range", "inputs[0].data[1]"),
        (_request(_input(data=CUT_OUT)), "wrong_type", "inputs[0].data: expected a list"),
        (_request(_input(name="a"), _input(data=CUT_OUT)), "wrong_type", "inputs[1].data: expected a list"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, reason: str, says: str) -> None:
    """Each defect has its own stable reason and a sentence that names the member."""
    seen = _refused(text if text != b"{}" else b'{"a":1}')
    assert seen[0] == reason
    assert says in seen[1]


@pytest.mark.parametrize("name", ["", "é", "\U0001f600", "a/b~c", '"', "a.b[0]"])
def test_parameters_may_have_any_name(name: str) -> None:
    """They are passed over unless they are known."""
    assert dict(parse_header(_request(parameters={name: 1, "timeout": 5})).parameters) == {name: 1, "timeout": 5}


@pytest.mark.parametrize("where", ["request", "input"])
def test_a_name_with_nul_is_refused(where: str) -> None:
    """The parser cannot find it again; that is no defect of the server."""
    odd = {"a\0b": 1}
    text = _request(parameters=odd) if where == "request" else _request({**_input(), "parameters": odd})
    with pytest.raises(InvalidRequest, match="NUL"):
        parse_header(text)


@pytest.mark.parametrize("text", [b"[]", b"[{}]", b"1", b'"a"', b"null", b"true"])
def test_a_request_is_an_object(text: bytes) -> None:
    """Other JSON is no request."""
    with pytest.raises(InvalidRequest, match="expected a JSON object") as error:
        parse_header(text)
    assert error.value.reason == "malformed_json"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", _request()[:-1], _request() + b"x"])
def test_broken_text_is_refused(text: bytes) -> None:
    """What is no JSON is refused as such."""
    with pytest.raises(InvalidRequest) as error:
        parse_header(text)
    assert error.value.reason == "malformed_json"


@pytest.mark.parametrize("depth", [65, 2_000, 1_000_000])
def test_deep_text_is_refused(depth: int) -> None:
    """Depth is refused wherever it is, also in members nobody reads."""
    for text in (b"[" * depth, b'{"a":' * depth, _request()[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"):
        with pytest.raises(InvalidRequest) as error:
            parse_header(text)
        assert error.value.reason == "json_too_deep"


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("shape", [[2**48], [2**24, 2**24], [1 << 20]])
def test_nothing_is_made_of_declared_sizes(datatype: Datatype, shape: list[int]) -> None:
    """A shape of terabytes costs no memory before it is refused."""
    inline = _request(_input(datatype=datatype.name, shape=shape))
    binary = _request(_input(datatype=datatype.name, shape=shape, data=..., parameters=_SIZE))
    tracemalloc.start()
    try:
        for text in (inline, binary):
            with pytest.raises((InvalidRequest, TooLarge)):
                parse_header(text)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_many_small_objects_cost_no_memory() -> None:
    """Objects in the place of tensors, parameters or elements are refused before each becomes a Python object."""
    many = b"[" + b"{}," * 200_000 + b"{}]"
    requests = [
        b'{"inputs":' + many + b"}",
        b'{"inputs":[],"outputs":' + many + b"}",
        b'{"inputs":[],"parameters":{"a":' + many + b"}}",
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":' + many + b"}]}",
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[9],"data":' + many + b"}]}",
        b'{"inputs":[{"name":"x","datatype":"BOOL","shape":[9],"data":[' + many + b"]}]}",
        b'{"inputs":[{"name":' + many + b"}]}",
        b'{"inputs":[],"id":' + many + b"}",
    ]
    tracemalloc.start()
    try:
        for text in requests:
            with pytest.raises((InvalidRequest, TooLarge)):
                parse_header(text)
        # A dict for each would be 64 bytes, 12.8 MB; the parser's own memory is not counted here.
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_skeleton_says_whose_data_is_missing() -> None:
    """In a skeleton the place-holder stands for data that is somewhere else."""
    parsed = parse_skeleton(_request(_input(name="a"), _input(data=CUT_OUT)))
    assert parsed.cut_out == 1
    assert parsed.walked == ()
    assert parsed.inputs[1].shape == (2,)
