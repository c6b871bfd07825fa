"""Words of a plan as numbers, without touching what was given."""

from __future__ import annotations

import msgspec
import pytest

from changeover.rollout.plan_quantities import quantified


def test_words_become_numbers_in_a_copy() -> None:
    """The value that was given stays as it is."""
    given = {"rollout": {"hold": "1m", "steps": ["shadow", "5%", {"weight": "10%", "hold": "2s"}]}}
    assert quantified(given) == {
        "rollout": {
            "hold": 60,
            "steps": [{"weight": "shadow"}, {"weight": 0.05}, {"weight": 0.1, "hold": 2}],
        }
    }
    assert given["rollout"]["hold"] == "1m"
    assert given["rollout"]["steps"][1] == "5%"


@pytest.mark.parametrize("value", [None, 5, "text", [1], {"rollout": 3}, {"rollout": {"steps": [None, [1]]}}])
def test_what_is_no_plan_is_left_to_the_types(value: object) -> None:
    """Whatever it is, it comes back."""
    assert quantified(value) == value


def test_what_is_nested_too_deeply() -> None:
    """Is no plan, and said to be none."""
    value: dict[str, object] = {}
    for _ in range(5_000):
        value = {"a": value}
    with pytest.raises(msgspec.ValidationError, match="nested too deeply"):
        quantified(value)


def test_the_place_of_a_mistake_is_told() -> None:
    """As msgspec writes it, so that one way leads to the line."""
    with pytest.raises(msgspec.ValidationError, match=r"no duration .* at `\$\.rollout\.hold`"):
        quantified({"rollout": {"hold": "soon"}})
