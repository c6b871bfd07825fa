"""What a proof costs: processor time of each gate of a prover, by itself, beside an active version and recent requests.

    python benchmarks/proof_cost.py [PROOFS]

The digits CNN in its two versions, 256 recent requests from each of two gateways, every proof in a process of its own,
forked as the zygote forks them. It is processor time, so a machine that others use changes little of it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import msgspec

from changeover.demo import digits
from changeover.lifecycle import seal
from changeover.prover import process as prover
from changeover.prover import sandbox
from changeover.prover.proving import Proving
from changeover.rollout.plan_gates import GatesPlan
from changeover.runtime import quiet
from changeover.scratch import scratch
from changeover.tensors import Datatype, Tensor
from changeover.transport import sample
from changeover.transport.control import Signature, TensorEntry, WorkerSpec
from changeover.transport.page import create_sample
from changeover.transport.proving import ProverSpec, Reference
from changeover.worker import process as worker
from rig import emit, median, verdict

GATEWAYS = 2
REQUESTS = 256
REACH_MS = 100.0
"""A proof took 136 ms when each recent request had a run of its own, and 200 on a machine that others kept busy."""


class Timed(Proving):
    """A proof that notes what each gate took of the processor, in seconds; it never rests."""

    def prove(self) -> dict[str, float]:
        """Run, and return it by gate."""
        self.took: dict[str, float] = {}
        self._pace = quiet.Pace(hurry=True)
        self.run()
        return self.took

    def _go_through(self, gate: str, *rest: Any) -> None:
        began = time.process_time()
        super()._go_through(gate, *rest)
        self.took[gate] = time.process_time() - began


def spec_in(folder: Path) -> ProverSpec:
    """What a prover of version 2 is told, with everything it names under the folder."""
    for name in ("artifacts", "cache", "empty"):
        (folder / name).mkdir()
    workers = []
    for number in ("1", "2"):
        artifact = seal.seal_parts({"model.onnx": digits.model_bytes(number)}, folder / "artifacts")
        workers.append(
            WorkerSpec(int(number), "digits", number, digest=artifact.digest, path=str(artifact.model),
                       cache=str(folder / "cache"), empty=str(folder / "empty"))
        )  # fmt: skip
    rows, scores = digits.load_samples().inputs(), digits.load_samples().scores["1"]
    inputs = [TensorEntry(digits.INPUT, "FP32", [-1, *rows.shape[1:]])]
    outputs = [TensorEntry("scores", "FP32", [-1, *scores.shape[1:]])]
    reference = Reference(workers[0], Signature(inputs, outputs, True), 1 << 20)
    return ProverSpec(
        workers[1], msgspec.to_builtins(GatesPlan()), reference=reference, held_bytes=1 << 20, sample=True,
        disagreement=1.0,
    )  # fmt: skip


def recent() -> int:
    """Memory with what the gateways would write."""
    rows = digits.load_samples().inputs()
    chosen = [rows[number % len(rows)][None] for number in range(REQUESTS)]
    requests = [[Tensor(digits.INPUT, Datatype.FP32, row.shape, row.tobytes())] for row in chosen]
    memory = create_sample(GATEWAYS)
    for place in range(GATEWAYS):
        for _ in sample.write(memory, place, sample.Sample(100_000, requests)):
            pass
    return memory


def proof(spec: ProverSpec, memory: int) -> dict[str, float]:
    """One proof in a process of its own; seconds of a core by part.

    Raises:
        RuntimeError: the version was refused.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(spec.worker.empty)
            fences = sandbox.enter(Path(spec.worker.cache))
            found: list[Any] = []
            fenced = time.process_time()
            took = Timed(spec, found.append, fences, memory).prove()
            told = {"fork and sandbox": fenced, **took, "all": time.process_time()}
            os.write(writer, json.dumps({"told": told, "ended": found[-1].detail or found[-1].state}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as file:
        text = file.read()
    answer = json.loads(text or '{"ended": "nothing was told"}')
    if answer["ended"] != "ready":
        raise RuntimeError(answer["ended"])
    told: dict[str, float] = answer["told"]
    return told


def main(proofs: int) -> None:
    """Prove, and print the medians."""
    folder = scratch("proof")
    try:
        worker.preload()
        prover.preload()
        spec, memory = spec_in(folder), recent()
        proof(spec, memory)  # the first has no graph in the cache
        found = [proof(spec, memory) for _ in range(proofs)]
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(stat.S_IRWXU)
        seal.discard(folder)
    cpu = {part: round(1e3 * median([one[part] for one in found]), 1) for part in found[0]}
    emit("proof_cost", met=cpu["all"] <= REACH_MS, proofs=proofs, cpu_ms=cpu, reach_ms=REACH_MS)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    sys.exit(verdict())
