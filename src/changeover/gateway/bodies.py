"""Bodies of the inference port, as types: what its description says is what the tests find in its answers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
    "BF16",
]  # fmt: skip
"""The names of `changeover.tensors.Datatype`."""


class Live(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the server has finished its first load."""

    ready: bool


class ModelReady(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a model has a worker that can answer."""

    name: str
    ready: bool


class ServerMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server, and what it can do beyond the standard."""

    name: str
    version: str
    extensions: list[str]


class ModelNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models that are served, by name."""

    models: list[str]


class TensorMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output as the model declares it; a dimension of -1 takes any size."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model with the versions that serve."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Duration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, and how long altogether in nanoseconds."""

    count: int
    ns: int


class InferenceStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests (`success`, `fail`) and the runs that answered them; there is no cache."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The runs of batches of one size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version; `last_inference`: milliseconds since 1970."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]
    memory_usage: list[Any]
    response_stats: dict[str, Any]


class Statistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of all gateways together; the others' counts are up to a quarter of a second old."""

    model_stats: list[ModelStatistics]


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the gateways log."""

    log_file: str
    log_info: bool
    log_warning: bool
    log_error: bool
    log_verbose_level: int
    log_format: str


class LogChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Settings to be changed."""

    log_info: bool | msgspec.UnsetType = msgspec.UNSET
    log_warning: bool | msgspec.UnsetType = msgspec.UNSET
    log_error: bool | msgspec.UnsetType = msgspec.UNSET
    log_verbose_level: int | msgspec.UnsetType = msgspec.UNSET


class RegionToRegister(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a shared memory object that a client on this machine has made; `key`: its name, such as `/tensors`."""

    key: str
    byte_size: int
    offset: int | msgspec.UnsetType = msgspec.UNSET


class IndexQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """`ready`: only what serves."""

    ready: bool = False


class LoadQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """`parameters`: `config` is the JSON text of a configuration, `file:1/model.onnx` a file in base64."""

    parameters: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input.

    `data`: flat or nested in row-major order, texts for BYTES. In a binary request the bytes come behind the JSON, and
    `parameters.binary_data_size` says how many. `parameters`: at most 256 members.
    """

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class WantedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is asked for; `parameters.binary_data`: as bytes behind the JSON."""

    name: str
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferenceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to run a model.

    `outputs`: all of them without it. `parameters`: `timeout` in microseconds, `binary_data_output` for all outputs as
    bytes, and others.
    """

    inputs: list[InputTensor]
    outputs: list[WantedOutput] | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class OutputTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output; without `data` where it comes as bytes, `parameters.binary_data_size` many."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferenceAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outputs, and the version that gave them."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | msgspec.UnsetType = msgspec.UNSET
