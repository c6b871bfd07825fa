"""A sequence model as a session without sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.runtime import warmup
from changeover.sequences.declared import Controls, Declared, Initial, StateDeclared
from changeover.sequences.saved import Flag
from changeover.sequences.wire import sequence_key, sequence_tag
from tests.worker.sequence_parts import SUM, load, running_sum


def test_every_run_is_a_first_step(tmp_path: Path) -> None:
    """Public inputs and outputs only; the states begin anew in each row."""
    session = load(tmp_path, running_sum(), SUM)
    assert [spec.name for spec in session.inputs] == ["x"]
    assert [spec.name for spec in session.outputs] == ["y", "told"]
    for _ in range(2):
        y, told = session.run([np.full((3, 4), 5, np.float32)])
        assert y.tolist() == [[5] * 4] * 3
        assert told[:, :2].tolist() == [[1, 0]] * 3


def test_it_is_warmed_up_like_any_other(tmp_path: Path) -> None:
    """All batch sizes, and its rows are independent."""
    session = load(tmp_path, running_sum(), SUM)
    warm = warmup.warm_up(session, batchable=session.together, max_batch=8, finite=True)
    assert warm.gate.result == "passed"
    assert warm.batchable
    assert warmup.touch(session, True, 8) > 0


def test_states_are_gathered_and_scattered_along_their_axis(tmp_path: Path) -> None:
    """The second dimension of this model's; what is gathered comes back apart."""
    session = load(tmp_path, running_sum(), SUM)
    states = [{"h": np.full((2, 1, 4), row, np.float32)} for row in range(3)]
    together = session.gathered(states)
    assert together["h"].shape == (2, 3, 4)
    apart = session.scattered(together, 3)
    assert [float(one["h"][1, 0, 0]) for one in apart] == [0, 1, 2]


def test_an_id_is_told_as_the_model_takes_it(tmp_path: Path) -> None:
    """A number as it is, of a text one made of it; END where it is the last step."""
    session = load(tmp_path, running_sum(), SUM)
    rows = [(Flag(0), sequence_tag(2**64 - 1)), (Flag.END, sequence_tag("name"))]
    feeds = session.feeds({}, {}, rows)
    made = int.from_bytes(sequence_key(sequence_tag("name"))[:8], "little")
    assert feeds["ID"].tolist() == [[2**64 - 1], [made]]
    assert feeds["END"].tolist() == [[0], [1]]


@pytest.mark.parametrize(
    "declared",
    [
        Declared((StateDeclared("h", "nothing"),)),
        Declared((StateDeclared("h", "hn", Initial(file="absent.npy")),), Controls(corrid="ID")),
        Declared((StateDeclared("h", "hn", Initial(data=(1.0,))),), Controls(corrid="ID")),
    ],
)
def test_what_does_not_fit_the_model_is_refused(tmp_path: Path, declared: Declared) -> None:
    """Names, files and numbers."""
    with pytest.raises(ModelRejected) as caught:
        load(tmp_path, running_sum(), declared)
    assert caught.value.reason == "sequence_mismatch"
