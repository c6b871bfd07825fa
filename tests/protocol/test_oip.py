"""The messages: which form outputs take, and how values are told in errors."""

from __future__ import annotations

import pytest
import simdjson

from changeover.protocol.oip import InferRequest, RequestedOutput, describe, refusal


def _request(outputs: list[RequestedOutput] | None, *, binary: bool) -> InferRequest:
    return InferRequest(id="", inputs=[], outputs=outputs, parameters={}, binary_output=binary)


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_not_asked_for_take_the_default_form(binary: bool) -> None:
    """With no outputs named, all go in the form the request's parameter says."""
    assert _request(None, binary=binary).binary_flags(["a", "b"]) == (binary, binary)


def test_outputs_asked_for_take_their_own_form() -> None:
    """An output's own wish goes before the default, in the order of the names given."""
    request = _request([RequestedOutput("a", binary=False), RequestedOutput("b", binary=True)], binary=True)
    assert request.binary_flags(["b", "a"]) == (True, False)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        ("a", "'a'"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object"),
        (simdjson.Parser().parse(b"[1, 2, 3]"), "a list of 3"),
        (simdjson.Parser().parse(b"{}"), "an object"),
    ],
)
def test_values_are_told_in_json_words(value: object, words: str) -> None:
    """An error speaks of JSON, not of Python, wherever the value still is."""
    assert describe(value) == words


def test_long_texts_are_told_short() -> None:
    """A megabyte of a caller's text is not repeated in the error."""
    assert len(describe("x" * 1_000_000)) < 100


def test_a_refusal_says_where_what_and_instead_of_what() -> None:
    """The sentence names the member, what was expected and what came."""
    error = refusal("inputs[0].name", "a string", 5)
    assert (error.message, error.reason) == ("inputs[0].name: expected a string, got 5", "wrong_type")
