"""A remark on a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark.

    Attributes:
        path: of the field, as `yaml_text.line_of` reads it: `$.rollout.steps[2]`.
        sentence: what happens with this plan.
    """

    path: str
    sentence: str
