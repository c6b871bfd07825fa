"""`sequence_batching` of a `config.pbtxt` as the section `sequence` of a plan. Pure.

What Triton decides by scheduling (direct or oldest, queue delays, slots) has no equal: steps of different sequences
share runs whenever they wait together. Dimensions and types are the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Refuse = Callable[[str, str], Exception]
"""Makes the error for a path and a sentence."""
HEEDED: Final = frozenset(
    """sequence_batching sequence_batching.max_sequence_idle_microseconds sequence_batching.control_input
    sequence_batching.control_input.name sequence_batching.control_input.control
    sequence_batching.control_input.control.kind sequence_batching.control_input.control.data_type
    sequence_batching.control_input.control.int32_false_true sequence_batching.control_input.control.fp32_false_true
    sequence_batching.control_input.control.bool_false_true sequence_batching.state sequence_batching.state.input_name
    sequence_batching.state.output_name sequence_batching.state.data_type sequence_batching.state.dims
    sequence_batching.state.initial_state sequence_batching.state.initial_state.data_type
    sequence_batching.state.initial_state.dims sequence_batching.state.initial_state.zero_data
    sequence_batching.state.initial_state.data_file sequence_batching.state.initial_state.name
    sequence_batching.direct sequence_batching.oldest sequence_batching.oldest.max_queue_delay_microseconds
    sequence_batching.oldest.preserve_ordering
    sequence_batching.direct.max_queue_delay_microseconds""".split()  # noqa: SIM905 - a table
)
"""Fields that have an effect, or ask for what is done anyway."""
_ROLES: Final = {
    "CONTROL_SEQUENCE_START": "start",
    "CONTROL_SEQUENCE_END": "end",
    "CONTROL_SEQUENCE_READY": "ready",
    "CONTROL_SEQUENCE_CORRID": "corrid",
}
_AT: Final = "sequence_batching"
_LEAST_IDLE: Final = 0.1
_MOST_IDLE: Final = 30 * 86400.0


def section(batching: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    """The section of a plan that a `sequence_batching` asks for.

    Args:
        batching: its fields, as Triton's JSON has them.
        refuse: makes the error for what cannot be meant.

    Raises:
        InvalidPlan: by `refuse`.
    """
    found: dict[str, Any] = {}
    idle = batching.get("max_sequence_idle_microseconds", 0)
    found["idle"] = min(max(idle * 1e-6, _LEAST_IDLE), _MOST_IDLE) if idle else 1.0
    found["state"] = [_state(state, refuse) for state in batching.get("state", ())]
    control: dict[str, Any] = {}
    for name, said in _controls(batching):
        role = _ROLES[said.get("kind", "CONTROL_SEQUENCE_START")]
        if role in control:
            raise refuse(f"{_AT}.control_input.control.kind", f"there are two controls of kind {role}")
        control[role] = name if role == "corrid" else _switch(name, said, refuse)
    if control:
        found["control"] = control
    return found


def speaks(batching: Mapping[str, Any]) -> bool:
    """Whether an ONNX model could know of it: without states and controls no request depends on another."""
    return bool(batching.get("state") or batching.get("control_input"))


def _controls(batching: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in batching.get("control_input", ()):
        for said in entry.get("control", ()):
            yield entry.get("name", ""), said


def _switch(name: str, said: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    for field in ("int32_false_true", "fp32_false_true", "bool_false_true"):
        if field in said:
            values = [float(value) for value in said[field]]
            if len(values) != 2:
                raise refuse(f"{_AT}.control_input.control.{field}", "two values are needed: false and true")
            return {"input": name, "off": values[0], "on": values[1]}
    raise refuse(f"{_AT}.control_input.control", f"{name} has no int32_false_true, fp32_false_true or bool_false_true")


def _state(state: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    found: dict[str, Any] = {"input": state.get("input_name", ""), "output": state.get("output_name", "")}
    initial = state.get("initial_state", ())
    if len(initial) > 1:
        raise refuse(f"{_AT}.state.initial_state", "there is one initial state, not several")
    if initial and initial[0].get("data_file"):
        found["initial"] = {"file": initial[0]["data_file"]}
    return found
