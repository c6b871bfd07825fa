"""Protobuf's text format: every way to write a field, and lines in what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidPlan
from changeover.protocol.text_format import Field, Word, parse


def values(text: str) -> list[object]:
    """The values of the top fields."""
    return [field.value for field in parse(text, "f")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", 1),
        ("a: -7", -7),
        ("a: - 7", -7),
        ("a: 0x1F", 31),
        ("a: 017", 15),
        ("a: 1.5e3", 1500.0),
        ("a: .5f", 0.5),
        ("a: -2.", -2.0),
        ("a: TYPE_FP32", Word("TYPE_FP32")),
        ("a: true", Word("true")),
        ('a: "text"', "text"),
        ("a: 'it''s'", "its"),
        ("a: \"two \" 'parts'", "two parts"),
        (r'a: "q\"\\\n\x41\101\303\274"', 'q"\\\nAAü'),
        ("a: {}", ()),
        ("a <>", ()),
    ],
)
def test_values_in_every_spelling(text: str, value: object) -> None:
    """Numbers, words, quoted texts with their escapes, messages in either bracket."""
    assert values(text) == [value]


def test_lists_separators_and_comments() -> None:
    """A list is its elements one after another; commas, semicolons and comments change nothing."""
    text = 'a: [1, 2]; b { c: 3, d: "x" } # the end of a line { [\n\na: 4\nb: [ { c: 5 }, <c: 6> ] e: []'
    found = parse(text, "f")
    assert [(f.name, f.line, f.listed) for f in found] == [
        ("a", 1, True),
        ("a", 1, True),
        ("b", 1, False),
        ("a", 3, False),
        ("b", 4, True),
        ("b", 4, True),
    ]
    assert found[2].value == (Field("c", 3, 1), Field("d", "x", 1))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a", 1, "expected : or { after a"),
        ("\n\na: ", 3, "expected a value, found the end of the file"),
        ("a: 1\nb: {\nc: 2", 3, "expected the name of a field or }"),
        ("a: [1\n2]", 2, "expected , or ]"),
        ('a: 1\nb: "open\n"', 2, "quoted text has no end"),
        ("a: 1\n}", 2, "expected the name of a field"),
        ("a: 1\n[ext]: 2", 2, "expected the name of a field"),
        (r'a: "\377"', 1, "not UTF-8"),
        ("a: -x", 1, "expected a value"),
        ("a {" * 40, 1, "nested deeper"),
        ("a: 1\nb: " + "1" * 5_000, 2, "too many digits"),
        ("a: 1\n\x00", 2, "does not belong here"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, what: str) -> None:
    """The file's name, the line and what stands there."""
    with pytest.raises(InvalidPlan) as refused:
        parse(text, "config.pbtxt")
    assert refused.value.reason == "invalid_config"
    assert refused.value.message.startswith(f"config.pbtxt line {line}: ")
    assert what in refused.value.message


@given(st.text("ab:{}[]<>\"'\\ \n#,;-0x1.e", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else is raised, whatever is written."""
    try:
        assert isinstance(parse(text, "f"), tuple)
    except InvalidPlan as error:
        told = error.reason
    else:
        told = "invalid_config"
    assert told == "invalid_config"
