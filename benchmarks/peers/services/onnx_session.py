"""What the services of all peers share: one session with one thread, and the answer's JSON form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort


def open_session(path: str) -> ort.InferenceSession:
    """A session as ours has it: one thread, all optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_json(session: ort.InferenceSession, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run on inputs in the Open Inference Protocol's JSON form; return the outputs in the same form."""
    feeds = {i["name"]: np.asarray(i["data"], np.float32).reshape(i["shape"]) for i in inputs}
    made = zip(session.get_outputs(), session.run(None, feeds), strict=True)
    return [
        {"name": about.name, "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
        for about, values in made
    ]
