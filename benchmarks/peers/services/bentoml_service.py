"""A BentoML service that answers the Open Inference Protocol's JSON form."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from onnx_session import open_session, run_json


@bentoml.service(workers=1, resources={"cpu": "1"}, logging={"access": {"enabled": False}})
class OnnxService:
    """Runs the session in the event loop, which is fastest on one core."""

    def __init__(self) -> None:
        self._session = open_session(os.environ["MODEL_FILE"])

    @bentoml.api(route=os.environ["MODEL_PATH"])
    async def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"model_version": os.environ["MODEL_VERSION"], "outputs": run_json(self._session, inputs)}
