"""A server of the demo's own, with version 1, a golden set, a canary's plan, and a version 4 that will go wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from changeover.demo import digits
from changeover.rehearsal.server import PrivateServer

PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: shadow, mirror: 50%}, 5%, {weight: 25%, hold: 12s}, 50%, 100%]
  hold: 4s                       # a demo is in a hurry: 30 s is the default
  min_requests: 50
  holdback: 0
  limits: {disagreement: 20%}    # version 2 was trained anew and may answer otherwise, where version 1 was wrong
gates:
  accuracy: {metric: top1, min: 0.9}
  performance: {max_ratio: 3}
"""
BAD_FROM = 3000
"""Runs of version 4 that are well: more than the gates and the copies of the shadow step see of it."""
FAULTS = [
    {"kind": "slow", "after": BAD_FROM, "factor": 3, "seconds": 0.002},
    {"kind": "error", "after": BAD_FROM, "rate": 0.2},
]


class DemoServer(PrivateServer):
    """`changeover serve` as a child process that serves version 1.

    with DemoServer(folder) as server:
        ...                          # server.http_port, server.control_url
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, digits.MODEL, ["--faults", str(folder / "faults.json")])
        self._faults = folder / "faults.json"

    def start(self) -> None:
        """Make the repository, start the server, wait until version 1 answers.

        Raises:
            Internal: the server ended; the message holds the end of its log.
            DeadlineExceeded: it was not ready in time.
        """
        model = self.repository / digits.MODEL
        (model / "1").mkdir(parents=True)
        (model / "golden").mkdir()
        (model / "1" / "model.onnx").write_bytes(digits.model_bytes("1"))
        (model / "model.yaml").write_text(PLAN)
        samples = digits.load_samples()
        golden: dict[str, Any] = {digits.INPUT: samples.inputs(), "labels": samples.labels}
        np.savez(model / "golden" / "digits.npz", allow_pickle=False, **golden)
        self._faults.write_text(json.dumps({"models": {digits.MODEL: {"4": FAULTS}}}))
        super().start()
