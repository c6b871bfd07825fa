"""Triton's model configuration that comes with a load: the plan that it makes of that model (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from changeover.errors import InvalidPlan, InvalidRequest
from changeover.rollout.triton_config import foreign, understood_json

_OF_TENSORS: Final = ("labels", "interface")
_DECLARED: Final = "input, output: they are as the model itself declares them"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a configuration comes to.

    Attributes:
        version: that its version policy names, the highest of several; None for the highest there is.
        plan: fields of a plan.
        ignored: sentences on what has no effect.
    """

    version: int | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def plan_of_config(model: str, config: Mapping[str, Any]) -> Asked:
    """The plan of a configuration in Triton's JSON.

    Raises:
        InvalidRequest: `invalid_config`: a field is of the wrong type, or asks for another model or runtime.
    """
    try:
        found = understood_json(config)
    except InvalidPlan as error:
        raise InvalidRequest(error.message, reason=error.reason) from None
    said = found.config
    wrong = ["name"] if said.get("name", model) != model else foreign(said)
    if wrong:
        named = said[wrong[0]][:100]
        raise InvalidRequest(f"config: {wrong[0]} cannot be {named!r} in a load of {model!r}", reason="invalid_config")
    declared = (_DECLARED,) if said.keys() & {"input", "output"} else ()
    plan = {section: fields for section, fields in found.plan.items() if section not in _OF_TENSORS}
    return Asked(max(found.versions) if found.versions else None, plan, (*declared, *found.remarks))
