"""What commands print."""

from __future__ import annotations

import pytest
from rich.text import Text

from changeover.cli.output import Format, pairs, show, table


@pytest.mark.parametrize(
    "words", ["shape [batch,4] where [n] is asked", "no closing tag: [/v1/models]", "as :warning: said"]
)
def test_brackets_in_a_sentence_are_printed_as_they_are(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and sentences of models hold brackets, which rich would take for markup: swallowed, or an exception."""
    made = table("name")
    made.add_row(words)

    show({}, Format.TABLE, lambda: pairs([("why", words)]))
    show({}, Format.TABLE, lambda: made)

    assert capsys.readouterr().out.count(words) == 2


def test_what_has_a_style_is_printed_without_its_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that is a `Text` keeps its words, and a value of None leaves its row out."""
    show({}, Format.TABLE, lambda: pairs([("verdict", Text("good", "green")), ("reason", None)]))

    assert capsys.readouterr().out.split() == ["verdict", "good"]
