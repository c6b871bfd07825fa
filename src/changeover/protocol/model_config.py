"""Triton's model configuration: which fields `config.pbtxt` may have, and what its JSON looks like. Pure.

The table below is the message `inference.ModelConfig` of Triton's `model_config.proto` in a line a message:
`name:type`, with `*` before the type of a list, `{}` before that of a map's values (`{#}` where its keys are numbers),
and `|` after the type of a field of which a message has one at most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from changeover.errors import InvalidPlan
from changeover.protocol.text_format import Field, Scalar, Word, parse, refused

_MESSAGES: Final = """
ModelConfig name:text platform:text backend:text runtime:text version_policy:Policy max_batch_size:i32 input:*Input \
output:*Output batch_input:*BatchInput batch_output:*BatchOutput optimization:Optimization \
dynamic_batching:Batching| sequence_batching:Sequences| ensemble_scheduling:Ensemble| instance_group:*Group \
default_model_filename:text cc_model_filenames:{}text metric_tags:{}text parameters:{}Parameter model_warmup:*Warmup \
model_operations:Operations model_transaction_policy:Transactions model_repository_agents:Agents \
response_cache:Cache model_metrics:Metrics
Input name:text data_type:DataType format:Format dims:*i64 reshape:Reshape is_shape_tensor:bool \
allow_ragged_batch:bool optional:bool is_non_linear_format_io:bool
Output name:text data_type:DataType dims:*i64 reshape:Reshape label_filename:text is_shape_tensor:bool \
is_non_linear_format_io:bool
Reshape shape:*i64
Policy latest:Latest| all:All| specific:Specific|
Latest num_versions:u32
All
Specific versions:*i64
Group name:text kind:GroupKind count:i32 rate_limiter:Limiter gpus:*i32 secondary_devices:*Device profile:*text \
passive:bool host_policy:text
Limiter resources:*Resource priority:u32
Resource name:text global:bool count:u32
Device kind:DeviceKind device_id:i64
Batching preferred_batch_size:*i32 max_queue_delay_microseconds:u64 preserve_ordering:bool priority_levels:u64 \
default_priority_level:u64 default_queue_policy:Queue priority_queue_policy:{#}Queue
Queue timeout_action:TimeoutAction default_timeout_microseconds:u64 allow_timeout_override:bool max_queue_size:u32
Sequences direct:Direct| oldest:Oldest| max_sequence_idle_microseconds:u64 control_input:*ControlInput state:*State \
iterative_sequence:bool
Direct max_queue_delay_microseconds:u64 minimum_slot_utilization:real
Oldest max_candidate_sequences:i32 preferred_batch_size:*i32 max_queue_delay_microseconds:u64 preserve_ordering:bool
ControlInput name:text control:*Control
Control kind:ControlKind int32_false_true:*i32 fp32_false_true:*real bool_false_true:*bool data_type:DataType
State input_name:text output_name:text data_type:DataType dims:*i64 initial_state:*InitialState \
use_same_buffer_for_input_output:bool use_growable_memory:bool
InitialState data_type:DataType dims:*i64 zero_data:bool| data_file:text| name:text
Ensemble step:*EnsembleStep max_inflight_requests:u32
EnsembleStep model_name:text model_version:i64 input_map:{}text output_map:{}text model_namespace:text
Parameter string_value:text
Warmup name:text batch_size:u32 inputs:{}WarmupInput count:u32
WarmupInput data_type:DataType dims:*i64 zero_data:bool| random_data:bool| input_data_file:text|
Operations op_library_filename:*text
Transactions decoupled:bool
Agents agents:*Agent
Agent name:text parameters:{}text
Cache enable:bool
Metrics metric_control:*MetricControl
MetricControl metric_identifier:MetricIdentifier histogram_options:Histogram|
MetricIdentifier family:text
Histogram buckets:*real
BatchInput kind:BatchInputKind target_name:*text data_type:DataType source_input:*text
BatchOutput target_name:*text kind:BatchOutputKind source_input:*text
Optimization graph:Graph priority:Priority cuda:Cuda execution_accelerators:Accelerators \
input_pinned_memory:Pinned output_pinned_memory:Pinned gather_kernel_buffer_threshold:u32 eager_batching:bool
Graph level:i32
Pinned enable:bool
Cuda graphs:bool busy_wait_events:bool graph_spec:*GraphSpec output_copy_stream:bool
GraphSpec batch_size:i32 input:{}GraphShape graph_lower_bound:GraphBound
GraphBound batch_size:i32 input:{}GraphShape
GraphShape dim:*i64
Accelerators gpu_execution_accelerator:*Agent cpu_execution_accelerator:*Agent
"""

_CHOICES: Final = """
DataType TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 TYPE_INT16 TYPE_INT32 \
TYPE_INT64 TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16
Format FORMAT_NONE FORMAT_NHWC FORMAT_NCHW
GroupKind KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL
DeviceKind KIND_NVDLA
TimeoutAction REJECT DELAY
ControlKind CONTROL_SEQUENCE_START CONTROL_SEQUENCE_READY CONTROL_SEQUENCE_END CONTROL_SEQUENCE_CORRID
Priority PRIORITY_DEFAULT PRIORITY_MAX PRIORITY_MIN
BatchInputKind BATCH_ELEMENT_COUNT BATCH_ACCUMULATED_ELEMENT_COUNT BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO \
BATCH_MAX_ELEMENT_COUNT_AS_SHAPE BATCH_ITEM_SHAPE BATCH_ITEM_SHAPE_FLATTEN
BatchOutputKind BATCH_SCATTER_WITH_INPUT_SHAPE
"""
_ENUMS: Final = {name: members for name, *members in map(str.split, _CHOICES.strip().split("\n"))}
_RANGES: Final = {
    "i32": (-(1 << 31), (1 << 31) - 1),
    "i64": (-(1 << 63), (1 << 63) - 1),
    "u32": (0, (1 << 32) - 1),
    "u64": (0, (1 << 64) - 1),
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_BOOLS: Final = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_DEFAULTS: Final = {"text": "", "bool": False, "real": 0.0} | dict.fromkeys(_RANGES, 0)
_SCHEMA: Final[dict[str, dict[str, str]]] = {
    message: dict(pair.split(":") for pair in fields)
    for message, *fields in map(str.split, _MESSAGES.strip().split("\n"))
}

Lines = list[tuple[str, int]]
"""Paths of the fields that were given (`dynamic_batching.preferred_batch_size`), in order, with a file's lines."""


def triton_type(datatype: str) -> str:
    """Triton's name of one of the protocol's datatypes."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def read_config(text: str | bytes, name: str = "config.pbtxt") -> tuple[dict[str, Any], Lines]:
    """The fields that a file gives, with the names and values of Triton's JSON, and where they stand.

    Raises:
        InvalidPlan: `invalid_config`: file, line and what is wrong there.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidPlan(f"{name} is not UTF-8 text.", reason="invalid_config") from error
    lines: Lines = []
    return _Reader(name, lines).message(parse(decoded, name), "ModelConfig", ""), lines


def read_json(config: Mapping[str, Any]) -> tuple[dict[str, Any], Lines]:
    """The fields that Triton's JSON gives, with the types of the table; their lines are 0.

    Numbers may be texts, as protobuf's JSON spells those of 64 bits. Zeros, empty texts, lists and objects say nothing:
    that is how Triton's own clients spell a field that is not set. Of a section that
    the table has not there is the path alone.

    Raises:
        InvalidPlan: `invalid_config`: a value is of another type than its field.
    """
    lines: Lines = []
    return _json_message(config, "ModelConfig", "", lines), lines


def _json_message(given: Any, message: str, path: str, lines: Lines) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _misfit(path.rstrip("."), given)
    schema, found = _SCHEMA[message], dict[str, Any]()
    for name, value in given.items():
        kind, where = schema.get(name, ""), f"{path}{name}"
        if path and not kind:
            raise _misfit(where, value)
        chosen = bool(path) and kind.endswith("|")  # of a choice the name alone says which
        if value in (0, "", None, False) or value == [] or (value == {} and not chosen):
            continue
        lines.append((where, 0))
        if kind:
            found[name] = _json_value(value, kind.rstrip("|"), where, lines)
    return found


def _json_value(value: Any, kind: str, where: str, lines: Lines) -> Any:
    if kind.startswith("*"):
        if not isinstance(value, list):
            raise _misfit(where, value)
        return [_json_value(item, kind[1:], where, lines) for item in value]
    if kind.startswith("{"):
        if not isinstance(value, Mapping):
            raise _misfit(where, value)
        of = kind.partition("}")[2]
        return {str(key): _json_value(item, of, f"{where}.{key}", lines) for key, item in value.items()}
    if kind in _SCHEMA:
        return _json_message(value, kind, f"{where}.", lines)
    if isinstance(value, str) and kind in _ENUMS:
        found = _scalar(Word(value), kind)
    elif isinstance(value, str) and kind in _RANGES and _NUMBER.fullmatch(value):
        found = _scalar(int(value), kind)
    else:
        found = _scalar(value, kind) if isinstance(value, bool) == (kind == "bool") else None
    if found is None:
        raise _misfit(where, value)
    return found


def _misfit(where: str, value: object) -> InvalidPlan:
    return InvalidPlan(f"config: {where} cannot be {str(value)[:100]!r}", reason="invalid_config")


def whole(config: dict[str, Any], message: str = "ModelConfig") -> dict[str, Any]:
    """A configuration as Triton answers it: fields that were not given have their defaults, messages are left out."""
    return {
        field: _whole(config.get(field), kind)
        for field, kind in _SCHEMA[message].items()
        if field in config or not (kind.endswith("|") or kind in _SCHEMA)
    }


def _whole(value: Any, kind: str) -> Any:
    kind = kind.rstrip("|")
    if kind.startswith("*"):
        return [_whole(item, kind[1:]) for item in value or ()]
    if kind.startswith("{"):
        of = kind.partition("}")[2]
        return {key: _whole(item, of) for key, item in (value or {}).items()}
    if kind in _SCHEMA:
        return whole(value or {}, kind)
    if value is not None:
        return value
    return _ENUMS[kind][0] if kind in _ENUMS else _DEFAULTS[kind]


class _Reader:
    """Gives the fields of a tree the types of the table."""

    def __init__(self, name: str, lines: Lines) -> None:
        self._name = name
        self._lines = lines

    def message(self, fields: Iterable[Field], message: str, path: str) -> dict[str, Any]:
        """The value of a message whose fields stand under `path`."""
        schema, found = _SCHEMA[message], dict[str, Any]()
        chosen: str | None = None
        for field in fields:
            kind, where = schema.get(field.name), f"{path}{field.name}"
            if kind is None:
                known = f"; there are {', '.join(schema)}" if schema else ""
                raise refused(self._name, field.line, f"{where}: there is no such field{known}")
            self._lines.append((where, field.line))
            if kind.endswith("|"):
                if chosen not in (None, field.name):
                    raise refused(self._name, field.line, f"{where}: {chosen} is given already, and only one may be")
                chosen, kind = field.name, kind[:-1]
            if kind.startswith("*"):
                found.setdefault(field.name, []).append(self._value(field, kind[1:], where))
            elif kind.startswith("{"):
                found.setdefault(field.name, {}).update(self._entry(field, kind, where))
            elif field.name in found or field.listed:
                raise refused(self._name, field.line, f"{where}: there is one value of it, not several")
            else:
                found[field.name] = self._value(field, kind, where)
        return found

    def _entry(self, field: Field, kind: str, where: str) -> dict[str, Any]:
        """One entry of a map, which is written as a message of `key` and `value`."""
        keys, _, of = kind.partition("}")
        if not isinstance(field.value, tuple):
            raise refused(self._name, field.line, f"{where}: expected {{ key: … value: … }}")
        parts = {part.name: part for part in field.value}
        if not parts.keys() <= {"key", "value"} or "key" not in parts:
            raise refused(self._name, field.line, f"{where}: expected {{ key: … value: … }}")
        key = self._value(parts["key"], "u64" if keys == "{#" else "text", f"{where}.key")
        value = self._value(parts["value"], of, f"{where}.{key}") if "value" in parts else _whole(None, of)
        return {str(key): value}

    def _value(self, field: Field, kind: str, where: str) -> Any:
        value = field.value
        if isinstance(value, tuple):
            if kind not in _SCHEMA:
                raise refused(self._name, field.line, f"{where}: expected {_wanted(kind)}, found a message")
            return self.message(value, kind, f"{where}.")
        found = _scalar(value, kind)
        if found is None:
            shown = value.text if isinstance(value, Word) else json.dumps(value, ensure_ascii=False)
            raise refused(self._name, field.line, f"{where}: expected {_wanted(kind)}, found {shown[:60]}")
        return found


def _scalar(value: Scalar, kind: str) -> object:
    """The value as the table wants it, None when it is none of that."""
    if kind == "text":
        return value if isinstance(value, str) else None
    if kind == "bool":
        if isinstance(value, Word):
            return _BOOLS.get(value.text)
        return bool(value) if isinstance(value, int) and value in (0, 1) else None
    if kind == "real":
        return float(value) if isinstance(value, int | float) else None
    if kind in _ENUMS:
        members = _ENUMS[kind]
        if isinstance(value, Word):
            return value.text if value.text in members else None
        return members[value] if isinstance(value, int) and 0 <= value < len(members) else None
    low, high = _RANGES.get(kind, (1, 0))
    return value if isinstance(value, int) and low <= value <= high else None


def _wanted(kind: str) -> str:
    if kind in _SCHEMA:
        return "{ … }"
    if kind in _ENUMS:
        return f"one of {', '.join(_ENUMS[kind])}"
    if kind in _RANGES:
        return "a whole number from {} to {}".format(*_RANGES[kind])
    return {"text": "a quoted text", "bool": "true or false", "real": "a number"}[kind]
