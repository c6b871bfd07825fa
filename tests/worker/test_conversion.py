"""States between workers of two versions: there, back, and by a replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from changeover.errors import ModelRejected
from changeover.runtime import faults
from changeover.runtime.stateless import Stateless
from changeover.sequences.back import without_worker
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token, unpack
from changeover.sequences.section import Declared
from changeover.tensors import Datatype, Tensor, from_numpy
from changeover.transport.control import WorkerSpec
from changeover.worker.conversion import Converting
from tests import sequence_models as models

OLDER, NEWER = 3, 8


def converting(folder: Path, number: int, model: onnx.ModelProto, said: dict[str, Any]) -> Converting:
    path = folder / f"{number}.onnx"
    path.write_bytes(model.SerializeToString())
    declared = msgspec.convert(said, Declared)
    spec = WorkerSpec(number, "m", "1", "", str(path), "", "", optimization="off", sequence=declared)
    session = faults.load(spec).session
    assert isinstance(session, Stateless)
    return Converting(spec, declared, session)


def tensors(**arrays: list[Any]) -> tuple[Tensor, ...]:
    return tuple(from_numpy(name, np.array(values, np.float32)) for name, values in arrays.items())


def saved(steps: int = 2, inputs: int = 0, **states: list[Any]) -> Saved:
    kept = tuple(tensors(x=[[at, at, at, at]]) for at in range(1, inputs + 1))
    return Saved(Token(1, 2), NO_DIGEST, Flag(0), 5, steps, steps, tensors(**states), (), kept)


def values(found: tuple[Tensor, ...]) -> dict[str, Any]:
    return {tensor.name: tensor.numpy().tolist() for tensor in found}


def test_a_map_there_and_back(tmp_path: Path) -> None:
    """The newer worker converts in both directions, and says so of what it hands back."""
    older = converting(tmp_path, OLDER, models.running_sum(), models.SUM_STATE)
    said = {"state": [{"input": "s", "output": "s_next"}], "on_changeover": "map", "map": [{"rename": {"h": "s"}}]}
    newer = converting(tmp_path, NEWER, models.running_sum(name="s"), said)
    had = saved(h=[[1, 2, 3, 4]])
    given = older.hand(had, NEWER)
    assert given == had
    taken = newer.take(given, back=False)
    assert values(taken) == {"s": [[1, 2, 3, 4]]}
    handed = newer.hand(replace(had, states=taken), OLDER)
    assert (values(handed.states), handed.flags) == ({"h": [[1, 2, 3, 4]]}, Flag.BACK)
    assert values(older.take(handed, back=True)) == values(had.states)


def test_a_replay_makes_the_state_anew(tmp_path: Path) -> None:
    """From the inputs that came along, whatever state came with them."""
    said = {**models.SUM_STATE, "on_changeover": "replay", "replay": 2}
    newer = converting(tmp_path, NEWER, models.running_sum(), said)
    assert values(newer.take(saved(5, 2, h=[[9, 9, 9, 9]]), back=False)) == {"h": [[3, 3, 3, 3]]}
    with pytest.raises(ModelRejected, match="no inputs were kept"):
        newer.take(saved(5, 0, h=[[9, 9, 9, 9]]), back=False)


def test_a_replay_of_texts(tmp_path: Path) -> None:
    """They come out of a record as they went into it, wherever it lies in memory."""
    newer = converting(tmp_path, NEWER, models.word_sum(), {**models.SUM_STATE, "on_changeover": "replay", "replay": 4})
    words = tuple((from_numpy("t", np.array([[word]], object)),) for word in ("a", "b", "b"))
    packed = replace(saved(3, 0, h=[[7]]), inputs=words).pack()
    assert values(newer.take(unpack(packed), back=False)) == {"h": [[21]]}


def test_a_state_that_lies_at_an_odd_place(tmp_path: Path) -> None:
    """In a record it begins anywhere; numpy reads it there, but a session is given memory that is aligned."""
    newer = converting(tmp_path, NEWER, models.running_sum(), models.SUM_STATE)
    packed = saved(h=[[1, 2, 3, 4]]).pack()
    for at in range(8):
        moved = memoryview(bytes(at) + packed)[at:]
        assert values(newer.take(unpack(moved), back=False)) == {"h": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    "odd",
    [
        Tensor("x", Datatype.UINT8, (0, 2**64 - 1), b""),
        Tensor("x", Datatype.BYTES, (1, 1), b"\1\0\0\0\xff"),
        Tensor("x", Datatype.BYTES, (1, 4), b"\xff\xff\xff\xff"),
    ],
)
def test_what_another_worker_made_up_is_refused(tmp_path: Path, odd: Tensor) -> None:
    """As an input that is replayed and as a state: it must not end the worker that is to take it."""
    said = {**models.SUM_STATE, "on_changeover": "replay", "replay": 2}
    replaying = converting(tmp_path, NEWER, models.running_sum(), said)
    with pytest.raises(ModelRejected) as refused:
        replaying.take(replace(saved(2, 2), inputs=((odd,),)), back=False)
    assert refused.value.reason == "state_unfit"
    carrying = converting(tmp_path, NEWER, models.running_sum(), models.SUM_STATE)
    with pytest.raises(ModelRejected):
        carrying.take(replace(saved(2), states=(replace(odd, name="h"),)), back=False)


def test_a_replay_is_taken_back_by_a_replay(tmp_path: Path) -> None:
    """The newer version hands out no state, and the older one, which declares nothing of it, makes its own."""
    said = {**models.SUM_STATE, "on_changeover": "replay", "replay": 2}
    older = converting(tmp_path, OLDER, models.running_sum(), {**models.SUM_STATE, "replay": 2})
    newer = converting(tmp_path, NEWER, models.running_sum(), said)
    handed = newer.hand(saved(2, 2, h=[[9, 9, 9, 9]]), OLDER)
    assert handed.states == ()
    assert values(older.take(handed, back=True)) == {"h": [[3, 3, 3, 3]]}


@pytest.mark.parametrize(
    ("said", "state"),
    [({"on_changeover": "replay", "replay": 2}, "h"), ({"on_changeover": "map", "map": [{"rename": {"h": "s"}}]}, "s")],
)
def test_the_older_version_takes_what_a_dead_newer_one_left(tmp_path: Path, said: dict[str, Any], state: str) -> None:
    """What lies in the slab, without the worker that could have handed it out."""
    older = converting(tmp_path, OLDER, models.running_sum(), {**models.SUM_STATE, "replay": 2})
    declared = {"state": [{"input": state, "output": f"{state}_next"}], **said}
    newer = converting(tmp_path, NEWER, models.running_sum(name=state), declared)
    left = without_worker(saved(2, 2, **{state: [[3, 3, 3, 3]]}), newer._layout)
    assert left is not None
    assert values(older.take(left, back=True)) == {"h": [[3, 3, 3, 3]]}


@pytest.mark.parametrize("states", [{"h": [[1, 2, 3]]}, {"s": [[1, 2, 3, 4]]}])
def test_what_does_not_fit_is_refused(tmp_path: Path, states: dict[str, Any]) -> None:
    """A state of another layout is never taken for one's own."""
    worker = converting(tmp_path, NEWER, models.running_sum(), models.SUM_STATE)
    with pytest.raises(ModelRejected) as refused:
        worker.take(saved(**states), back=False)
    assert refused.value.reason == "state_unfit"


def test_inputs_that_the_model_does_not_take(tmp_path: Path) -> None:
    """A replay that fails is a state that cannot be taken over."""
    said = {**models.SUM_STATE, "on_changeover": "replay", "replay": 2}
    worker = converting(tmp_path, NEWER, models.running_sum(), said)
    wrong = replace(saved(), inputs=(tensors(x=[[1, 2]]),))
    with pytest.raises(ModelRejected, match="a replay failed"):
        worker.take(wrong, back=False)


def test_a_missing_file_is_told_at_once(tmp_path: Path) -> None:
    """Not when the first sequence moves."""
    said = {**models.SUM_STATE, "on_changeover": "map", "map": [{"graph": "nowhere.onnx"}]}
    with pytest.raises(ModelRejected, match=r"no file nowhere\.onnx"):
        converting(tmp_path, NEWER, models.running_sum(), said)
