"""A LitServe server that answers the Open Inference Protocol's JSON form."""

import os
from typing import Any

import litserve as ls
from fastapi import Request
from onnx_session import open_session, run_json


class OnnxApi(ls.LitAPI):
    """Runs in the one inference worker."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the interface
        self._session = open_session(os.environ["MODEL_FILE"])

    def decode_request(self, request: Request) -> list[dict[str, Any]]:
        inputs: list[dict[str, Any]] = request["inputs"]  # by now it is the parsed body
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return run_json(self._session, x)

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"model_version": os.environ["MODEL_VERSION"], "outputs": output}


if __name__ == "__main__":
    server = ls.LitServer(OnnxApi(api_path=os.environ["MODEL_PATH"]), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["MODEL_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
