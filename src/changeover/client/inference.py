"""Inference over HTTP in binary form, from arrays to arrays. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from changeover.client.ask import Answer, Ask, InvalidClient, model_path
from changeover.errors import Internal
from changeover.tensors import Datatype, Tensor, from_numpy

_HEADER_LENGTH = "inference-header-content-length"
_STATEFUL = "sequence_id"

Arrays = Mapping[str, npt.ArrayLike]


class How(TypedDict, total=False):
    """How an inference is asked for; all of it may be left out.

    Attributes:
        outputs: names of the outputs wanted; all without it.
        version: a version, or a role such as `active` or `candidate`; as the weights say without it.
        key: the same key is answered by the same version while the weights stay.
        timeout: seconds until the answer must be there, retries included; the client's own without it.
        parameters: of the request, such as `{"priority": 1}`.
        id: the answer carries it back.
    """

    outputs: Sequence[str]
    version: str
    key: str
    timeout: float
    parameters: Mapping[str, Any]
    id: str


class Outputs(dict[str, npt.NDArray[Any]]):
    """The outputs of an inference by name: read-only arrays; BYTES are object arrays of `bytes`, BF16 its raw bits.

    Attributes:
        model: that was asked.
        version: that answered.
        id: of the request, "" without one.
        epoch: number of the routing table that chose the version.
    """

    model: str
    version: str
    id: str
    epoch: int

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.items())
        return f"<Outputs of {self.model} version {self.version}: {shapes}>"


def infer(model: str, inputs: Arrays, how: How) -> Ask:
    """Ask a model for its outputs.

    Raises:
        InvalidClient: an array is of a type that the protocol has not (`unknown_datatype`).
    """
    tensors = [_tensor(name, value) for name, value in inputs.items()]
    parameters = {**how.get("parameters", {}), "binary_data_output": True}
    header: dict[str, Any] = {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype.name,
                "shape": tensor.shape,
                "parameters": {"binary_data_size": len(tensor.data)},
            }
            for tensor in tensors
        ],
        "parameters": parameters,
    }
    if "id" in how:
        header["id"] = how["id"]
    if "outputs" in how:
        header["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in how["outputs"]]
    text = json.dumps(header).encode()
    fields = {"content-type": "application/octet-stream", _HEADER_LENGTH: str(len(text))}
    if "key" in how:
        fields["changeover-key"] = how["key"]
    path = model_path(model, how.get("version"), "infer")
    body = b"".join([text, *(tensor.data for tensor in tensors)])
    return Ask("POST", path, body, fields, repeatable=_STATEFUL not in parameters, timed=True)


def outputs(answer: Answer) -> Outputs:
    """The arrays of an answer.

    Raises:
        ChangeoverError: what the server said.
        Internal: the answer is not what the protocol says.
    """
    answer.check()
    try:
        return _outputs(answer)
    except (ValueError, KeyError, TypeError) as error:
        raise Internal(f"the answer is no answer to an inference: {error!r}") from None


def _outputs(answer: Answer) -> Outputs:
    body = memoryview(answer.body)
    at = int(answer.headers.get(_HEADER_LENGTH, len(body)))
    header = json.loads(bytes(body[:at]))
    found = Outputs()
    for head in header["outputs"]:
        size = head["parameters"]["binary_data_size"]
        tensor = Tensor(head["name"], Datatype[head["datatype"]], tuple(head["shape"]), body[at : at + size])
        found[tensor.name] = tensor.numpy()
        at += size
    found.model, found.version = header["model_name"], header["model_version"]
    found.id, found.epoch = header.get("id", ""), int(answer.headers.get("changeover-epoch", 0))
    return found


def _tensor(name: str, value: npt.ArrayLike) -> Tensor:
    array = np.asarray(value)
    try:
        if array.dtype.name == "bfloat16":  # of ml_dtypes; numpy has none
            return from_numpy(name, array.view(np.uint16), Datatype.BF16)
        return from_numpy(name, array)
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidClient(f"input {name!r}: {error}", reason="unknown_datatype") from None
