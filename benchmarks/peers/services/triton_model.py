"""A model of Triton's Python backend that calls a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from onnx_session import open_session


class TritonPythonModel:
    """The interface that the backend asks for."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = open_session(str(folder / "model.onnx"))
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        array = pb_utils.get_input_tensor_by_name(request, self._input).as_numpy()
        values = self._session.run(None, {self._input: array})[0]
        return pb_utils.InferenceResponse([pb_utils.Tensor(self._output, values)])
