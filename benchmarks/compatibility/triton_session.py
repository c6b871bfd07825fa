"""A model of Triton's Python backend that does what the ONNX file beside it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The interface that the backend asks for."""

    def initialize(self, args: dict[str, str]) -> None:
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self._inputs = {i.name: i.type for i in self._session.get_inputs()}

    def execute(self, requests: list[Any]) -> list[Any]:
        if len(requests) == 1:  # so that a failure counts as one, as it does in Triton's backend for ONNX Runtime
            return [self._run(requests[0])]
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        """What goes wrong with one request is not the others' failure."""
        try:
            return self._run(request)
        except Exception as error:  # noqa: BLE001 - the backend's way to tell of a failure
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))

    def _run(self, request: Any) -> Any:
        if "tensor(bfloat16)" in self._inputs.values():  # numpy has no such type: the tensor itself is handed on
            given = pb_utils.get_input_tensor_by_name(request, "x")
            return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", given.to_dlpack())])
        asked = request.requested_output_names()  # a set
        names = [output.name for output in self._session.get_outputs() if output.name in asked]
        values = self._session.run(names, {name: self._array(request, name) for name in self._inputs})
        return pb_utils.InferenceResponse([_tensor(name, array) for name, array in zip(names, values, strict=True)])

    def _array(self, request: Any, name: str) -> Any:
        array = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        if self._inputs[name] != "tensor(string)":
            return array
        return np.array([e.decode() for e in array.ravel()], object).reshape(array.shape)


def _tensor(name: str, array: Any) -> Any:
    if array.dtype != object:
        return pb_utils.Tensor(name, array)
    return pb_utils.Tensor(name, np.array([str(e).encode() for e in array.ravel()], object).reshape(array.shape))
