"""`sequence_batching` as Triton's models have it."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.plan import parse_plan
from changeover.rollout.triton_config import understood
from changeover.sequences.declared import Controls, Declared, Initial, StateDeclared, Switch

TEXT = b"""max_batch_size: 8
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  control_input [
    { name: "START" control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] }] },
    { name: "READY" control [{ kind: CONTROL_SEQUENCE_READY int32_false_true: [-1, 1] }] },
    { name: "ID" control [{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 }] }
  ]
  state [
    { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [4]
      initial_state: { name: "zero" data_type: TYPE_FP32 dims: [4] zero_data: true } },
    { input_name: "c" output_name: "cn" initial_state: { data_file: "c0" } }
  ]
  oldest { max_candidate_sequences: 4 }
}
"""


def test_states_and_controls_become_a_section() -> None:
    """As in a model.yaml; what Triton schedules by has no effect, and that is said."""
    found = understood(TEXT)
    declared = parse_plan("", config=found.plan).sequence
    assert declared == Declared(
        (StateDeclared("h", "hn"), StateDeclared("c", "cn", Initial(file="c0"))),
        Controls(Switch("START", 0, 1), None, Switch("READY", -1, 1), "ID"),
        idle=5.0,
    )
    assert found.remarks == ("line 14: sequence_batching.oldest.max_candidate_sequences has no effect here",)


def test_the_plan_counts_over_it() -> None:
    """Field by field; a second without a word on idle sequences, as at Triton."""
    found = understood(TEXT.replace(b"  max_sequence_idle_microseconds: 5000000\n", b""))
    declared = parse_plan("sequence: {max: 7, on_changeover: drain}", config=found.plan).sequence
    assert declared is not None
    assert (declared.max, declared.on_changeover, declared.idle, len(declared.state)) == (7, "drain", 1.0, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"fp32_false_true: [0, 1]", b"fp32_false_true: [0]", "line 5: .*two values are needed"),
        (b"fp32_false_true: [0, 1]", b"", "line 5: .*START has no int32_false_true"),
        (b"CONTROL_SEQUENCE_READY", b"CONTROL_SEQUENCE_START", "line 5: .*two controls of kind start"),
        (b"zero_data: true }", b"zero_data: true } initial_state: { zero_data: true }", "line 11: .*not several"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(old: bytes, new: bytes, message: str) -> None:
    """Of the file that says it."""
    with pytest.raises(InvalidPlan, match=message) as caught:
        understood(TEXT.replace(old, new))
    assert caught.value.reason == "invalid_config"


def test_without_states_and_controls_it_is_no_sequence_model() -> None:
    """No request of an ONNX model could depend on another then."""
    found = understood(b"sequence_batching { direct {} }")
    assert parse_plan("", config=found.plan).sequence is None
    assert found.remarks == ("line 1: sequence_batching has no effect here",)
