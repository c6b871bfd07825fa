"""Strict YAML: what is refused, and which line is pointed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidPlan
from changeover.rollout.yaml_text import line_of, read_yaml


def refusal(text: str) -> str:
    with pytest.raises(InvalidPlan) as caught:
        read_yaml(text, "model.yaml")
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: off", {"a": "off"}),
        ("a: [on, yes, no, true, false]", {"a": ["on", "yes", "no", True, False]}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: 10m\nb: 3\nc: 1.5\nd: null", {"a": "10m", "b": 3, "c": 1.5, "d": None}),
        ("", None),
        ("# nothing but a comment\n", None),
    ],
)
def test_plain_values(text: str, expected: object) -> None:
    """The words of YAML 1.2; dates are text."""
    assert read_yaml(text, "model.yaml")[0] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1", 2),
        ("a: 1\na: 2", 2),
        ("a: &x 1\nb: *x", 1),
        ("a: 1\nb: {c: 1, c: 2}", 2),
        ("? [1]\n: 2", 1),
        ("a: 1\n---\nb: 2", 2),
        ("a: !!python/object:os.system x", 1),
        ("a:\n  - 1\n - 2", 3),
    ],
)
def test_refusals_name_the_line(text: str, line: int) -> None:
    """Broken syntax, keys that come twice, aliases, second documents, foreign types."""
    assert refusal(text).startswith(f"model.yaml line {line}")


@pytest.mark.parametrize("text", ["\0", "[" * 5000, "a" * 300_000, "a: !!int x", "\t- x"])
def test_other_refusals_are_ours_too(text: str) -> None:
    """Control characters, depth, length, broken numbers."""
    assert "model.yaml" in refusal(text)


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    """A text of ten lines that would unfold into a billion words."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases" in refusal("\n".join(lines))


def test_lines_are_found_by_path() -> None:
    """Values by msgspec's paths, keys by their name."""
    node = read_yaml("a:\n  b:\n    - x\n    - c: 1\n      d: 2\n", "model.yaml")[1]
    assert line_of(node, "$") == 1
    assert line_of(node, "$.a.b[1].d") == 5
    assert line_of(node, "$.a", "b") == 2
    assert line_of(node, "$.a.absent") is None
    assert line_of(node, "$.a.b[7]") is None
    assert line_of(None, "$.a") is None


@given(text=st.text(alphabet="ab: -[]{},&*!?|>'\"%@#\n\t0.~", max_size=60))
def test_any_text_gets_a_value_or_a_refusal(text: str) -> None:
    """No other exception comes out."""
    try:
        _, node = read_yaml(text, "model.yaml")
    except InvalidPlan:
        return
    assert (line_of(node, "$") is None) is (node is None)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("2E3", 2000.0), ("1.5e+2", 150.0), ("e3", "e3")])
def test_exponents_are_numbers(text: str, value: object) -> None:
    """As in YAML 1.2, with and without a point."""
    assert read_yaml(f"x: {text}", "a.yaml")[0] == {"x": value}
