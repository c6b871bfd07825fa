"""Options of a plan arrive in ONNX Runtime's session and in its runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime import session
from changeover.transport.control import WorkerSpec
from changeover.transport.session_options import ArenaOptions, SessionOptions
from tests import onnx_models

ROWS = [np.ones((2, 4), np.float32)]


def spec(folder: Path, *, threads: int = 1, **options: Any) -> WorkerSpec:
    """A model that doubles, with these options."""
    path = folder / "model.onnx"
    path.write_bytes(onnx_models.scale(2).SerializeToString())
    (folder / "cache").mkdir(exist_ok=True)
    return WorkerSpec(
        1, "m", "1", digest="d", path=str(path), cache=str(folder / "cache"), empty="", intra_op_threads=threads,
        session=SessionOptions(**options),
    )  # fmt: skip


def chosen(made: WorkerSpec) -> Any:
    """The options that ONNX Runtime's session says it has."""
    return session.load(made).session._session.get_session_options()


@pytest.mark.parametrize(
    ("option", "name"),
    [("arena", "enable_cpu_mem_arena"), ("memory_pattern", "enable_mem_pattern"), ("memory_reuse", "enable_mem_reuse")],
)
def test_switches_are_set(tmp_path: Path, option: str, name: str) -> None:
    """Each on by default, and off when the plan says so; the model answers the same."""
    assert getattr(chosen(spec(tmp_path)), name)
    off = spec(tmp_path, **{option: False})
    assert not getattr(chosen(off), name)
    np.testing.assert_array_equal(session.load(off).session.run(ROWS)[0], ROWS[0] * 2)


def test_entries_by_name(tmp_path: Path) -> None:
    """Those with an option of their own, and those by their name."""
    made = chosen(spec(tmp_path, spinning=True, prepacking=False, config={"session.disable_quant_qdq": "1"}))
    names = ("session.intra_op.allow_spinning", "session.disable_prepacking", "session.disable_quant_qdq")
    assert [made.get_session_config_entry(name) for name in names] == ["1", "1", "1"]
    assert chosen(spec(tmp_path)).get_session_config_entry(names[0]) == "0"


def test_threads_of_a_plan(tmp_path: Path) -> None:
    """Operators beside each other, and pinned threads; a prover, which has one thread, pins none."""
    made = chosen(spec(tmp_path, threads=2, execution="parallel", inter_op_threads=2, affinities="1"))
    assert made.inter_op_num_threads == 2
    assert made.get_session_config_entry("session.intra_op_thread_affinities") == "1"
    assert session.load(spec(tmp_path, affinities="1")).session.run(ROWS)


def test_free_dimensions_get_a_size(tmp_path: Path) -> None:
    """A free dimension by its name; the graph is another one, and another entry of the cache."""
    assert session.load(spec(tmp_path)).cache == "miss"
    fixed = session.load(spec(tmp_path, free_dimensions={"N": 2}))
    assert (fixed.cache, fixed.session.inputs[0].shape) == ("miss", (2, 4))
    again = session.load(spec(tmp_path, free_dimensions={"N": 2}))
    assert (again.cache, again.session.inputs[0].shape) == ("hit", (2, 4))
    assert session.load(spec(tmp_path)).session.inputs[0].shape == (-1, 4)


def test_entries_of_a_run(tmp_path: Path) -> None:
    """They go with every run: one that ONNX Runtime refuses fails it."""
    shrinking = {"memory.enable_memory_arena_shrinkage": "cpu:0"}
    assert session.load(spec(tmp_path, run_config=shrinking)).session.run(ROWS)
    wrong = session.load(spec(tmp_path, run_config={"memory.enable_memory_arena_shrinkage": "gpu:7"})).session
    with pytest.raises(ModelRunFailed, match="gpu:7"):
        wrong.run(ROWS)


def mapped() -> int:
    """MiB of address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096 >> 20


ALONE = """
import json, sys
from pathlib import Path
from tests.runtime.test_session_options import grown
print(grown(Path(sys.argv[1]), json.loads(sys.argv[2])))
"""


def grown(folder: Path, options: dict[str, Any]) -> int:
    """MiB that a first run of 36 MiB adds, inputs and outputs left out."""
    loaded = session.load(spec(folder, arena_options=ArenaOptions(**options))).session
    given = np.ones(((36 << 20) // 16, 4), np.float32)
    before = mapped()
    kept = loaded.run([given])
    return mapped() - before - (sum(array.nbytes for array in kept) >> 20)


def grown_alone(folder: Path, **options: Any) -> int:
    """The same in a process of its own: one that has freed memory before needs no other."""
    command, root = [sys.executable, "-c", ALONE, str(folder), json.dumps(options)], Path(__file__).parents[2]
    return int(subprocess.run(command, capture_output=True, timeout=100, check=True, cwd=root).stdout)


def test_an_arena_has_a_limit(tmp_path: Path) -> None:
    """A run that needs more fails by it, one that fits does not, and no other session has it."""
    limited = session.load(spec(tmp_path, arena_options=ArenaOptions(max_mem=1 << 20))).session
    large = np.ones((1 << 17, 4), np.float32)
    with pytest.raises(ModelRunFailed, match="Available memory") as caught:
        limited.run([large])
    assert caught.value.reason == "out_of_memory"
    assert limited.run(ROWS)
    assert session.load(spec(tmp_path)).session.run([large])
    with pytest.raises(ModelRunFailed, match="Available memory"):
        limited.run([large])


def test_an_arena_grows_as_it_is_told(tmp_path: Path) -> None:
    """By what is asked for, by twice as much, from a first piece of a size; the inputs of the runs are the same."""
    asked = grown_alone(tmp_path, arena_extend_strategy="kSameAsRequested")
    doubled = grown_alone(tmp_path, max_mem=1 << 40)
    first = grown_alone(tmp_path, initial_chunk_size_bytes=200 << 20)
    assert doubled >= asked + 20
    assert first >= doubled + 100


def test_what_onnxruntime_refuses(tmp_path: Path) -> None:
    """More pins than threads is its own refusal, in our words."""
    with pytest.raises(ModelRejected) as caught:
        session.load(spec(tmp_path, threads=2, affinities="1;1;1"))
    assert caught.value.reason == "load_failed"
