"""Every public call of the clients that people have already, against one server, each checked by value.

    python benchmarks/clients.py [ENVIRONMENTS]

tritonclient's four clients (http, http.aio, grpc, grpc.aio), KServe's two, and the two that were generated from the
protocol's own description (`open-inference-openapi`), each in a process of its own. A table on stderr, then what failed
with its request and its answer; one JSON line on stdout. Others than tritonclient get virtual environments under
ENVIRONMENTS (`.venv-peers`), and are left out with the reason where those cannot be made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

import changeover
from changeover.demo import digits
from models import large_cnn
from peers.environment import Unavailable, environment
from rig import INSTANT, Server, emit, say, verdict

TRITON = ("http", "http.aio", "grpc", "grpc.aio")
OTHERS = {
    "kserve": ("kserves.py", ("kserve rest", "kserve grpc"), ("kserve>=0.15",)),
    "oip": ("generated.py", ("oip", "oip.aio"), ("open-inference-openapi==2.0.0.1", "httpx", "pydantic")),
}
"""By their environment: the script, the clients, and what is installed."""
CLIENT_WITHIN = 120.0
CALLERS = Path(__file__).parent / "callers"
DATATYPES = {
    **{name: getattr(TensorProto, name) for name in (
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")},
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip


@dataclass(slots=True)
class Column:
    """What one client told.

    Attributes:
        cells: by case, as the book of the client names them.
        failed: with request and answer.
    """

    client: str
    cells: dict[str, str] = field(default_factory=dict)
    failed: list[dict[str, str]] = field(default_factory=list)

    def add(self, row: dict[str, str]) -> None:
        """One case."""
        self.cells[row["case"]] = row["result"]
        if row["result"] == "FAIL":
            self.failed.append(row)

    def count(self, *results: str) -> int:
        """Cells with one of these."""
        return sum(cell in results for cell in self.cells.values())


def main(environments: Path) -> None:
    """One server, one client after the other."""
    columns: list[Column] = []
    left_out: list[str] = []
    models = _models()
    loaded = [word for name in models for word in ("--load-model", name)]
    flags = ["--model-control", "explicit", "--shared-memory", *loaded]
    slowly = INSTANT + "runtime: {max_batch: 1}\n"
    with Server(models, {"slow": slowly}, flags) as server:
        told = _told(server)
        columns += [_client([sys.executable, str(CALLERS / "tritons.py"), str(told), name]) for name in TRITON]
        for place, (script, clients, needs) in OTHERS.items():
            try:
                python = environment(environments, place, needs).python
            except (Unavailable, OSError, subprocess.SubprocessError) as reason:
                left_out.append(f"{' and '.join(clients)} are left out: {reason}")
            else:
                columns += [_client([str(python), str(CALLERS / script), str(told), name]) for name in clients]
    _report(columns, "; ".join(left_out))


def _models() -> dict[str, bytes]:
    same = {f"same_{name}": _graph([("Identity", ("x",), "y")], kind, 3) for name, kind in DATATYPES.items()}
    sums = _graph([("Add", ("a", "b"), "sum"), ("Sub", ("a", "b"), "difference")], TensorProto.INT32, 16)
    slow = large_cnn(1, layers=4, side=32)
    return {digits.MODEL: digits.model_bytes("1"), "sums": sums, "slow": slow, **same}


def _graph(nodes: Sequence[tuple[str, tuple[str, ...], str]], kind: int, columns: int) -> bytes:
    """A model of one datatype, rows free."""

    def end(name: str) -> Any:
        return helper.make_tensor_value_info(name, kind, ["N", columns])

    outputs = [output for _, _, output in nodes]
    inputs = sorted({name for _, given, _ in nodes for name in given} - set(outputs))
    made = [helper.make_node(operator, given, [output]) for operator, given, output in nodes]
    ends = [output for output in outputs if not output.startswith("_")]
    graph = helper.make_graph(made, "graph", [end(name) for name in inputs], [end(name) for name in ends])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def _told(server: Server) -> Path:
    """What the clients' processes are told, in a file; each of tritonclient's has a model of its own to load."""
    doubled = _graph([("Add", ("x", "x"), "y")], TensorProto.FLOAT, 4)
    for client in TRITON:
        version = server.folder / "repository" / f"later_{client}" / "1"
        version.mkdir(parents=True)
        (version.parent / "model.yaml").write_text(INSTANT)
        (version / "model.onnx").write_bytes(doubled)
    tripled, samples, told = (server.folder / name for name in ("tripled.onnx", "samples.npz", "told.json"))
    tripled.write_bytes(_graph([("Add", ("x", "x"), "_2"), ("Add", ("_2", "x"), "y")], TensorProto.FLOAT, 4))
    known = digits.load_samples()
    np.savez(samples, images=known.inputs()[:8], scores=known.scores["1"][:8])
    where = {"http": f"127.0.0.1:{server.port}", "grpc": f"127.0.0.1:{server.grpc_port}"}
    files = {"tripled": str(tripled), "samples": str(samples)}
    told.write_text(json.dumps({**where, **files, "version": changeover.__version__}))
    return told


def _client(command: list[str]) -> Column:
    """A client's process; one that dies or does not end has failed with what it told until then."""
    column = Column(command[-1])
    say(f"clients: {column.client}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        lines, errors = process.communicate(timeout=CLIENT_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        lines, errors = process.communicate()
    for line in lines.splitlines():
        if line.startswith("{"):
            column.add(json.loads(line))
    if process.returncode or not column.cells:
        answer = " ".join(errors.split())[-600:]
        column.add({"case": "the process ends", "result": "FAIL", "request": "", "answer": answer})
    return column


def _report(columns: list[Column], left_out: str) -> None:
    rows = list(dict.fromkeys(case for column in columns for case in column.cells))
    width = max(len(row) for row in rows)
    say(f"{'':{width}}  " + "  ".join(f"{column.client:>11}" for column in columns))
    for row in rows:
        say(f"{row:{width}}  " + "  ".join(f"{column.cells.get(row, '-'):>11}" for column in columns))
    passed = {column.client: column.count("ok") for column in columns}
    applicable = {column.client: column.count("ok", "FAIL") for column in columns}
    counts = [f"{passed[column.client]}/{applicable[column.client]}" for column in columns]
    say(f"{'passed / applicable':{width}}  " + "  ".join(f"{count:>11}" for count in counts))
    for column in columns:
        for row in column.failed:
            say(f"FAIL {column.client}: {row['case']}\n  request: {row['request']}\n  answer:  {row['answer']}")
    if left_out:
        say(left_out)
    total, all_passed = sum(applicable.values()), sum(passed.values())
    emit(
        "drop_in_clients",
        met=all_passed == total,
        passed=all_passed,
        applicable=total,
        share=round(all_passed / total, 4),
        reach=1.0,
        clients={client: f"{passed[client]}/{applicable[client]}" for client in passed},
        left_out=left_out,
    )


if __name__ == "__main__":
    main(Path((sys.argv[1:] or [".venv-peers"])[0]))
    sys.exit(verdict())
