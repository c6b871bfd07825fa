"""A custom runtime of MLServer that calls a session."""

from __future__ import annotations

import asyncio

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_session import open_session


class OnnxModel(MLModel):
    """Loads in a thread, so that the event loop goes on; runs in the loop, which is fastest on one core."""

    async def load(self) -> bool:
        self._session = await asyncio.to_thread(open_session, self.settings.parameters.uri)
        self._answers_as = self.settings.parameters.extra["answers_as"]
        self._outputs = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        values = self._session.run(None, feeds)
        outputs = [NumpyCodec.encode_output(name, v) for name, v in zip(self._outputs, values, strict=True)]
        return InferenceResponse(model_name=self.name, model_version=self._answers_as, outputs=outputs)
