"""Errors of several sources, put together."""

from __future__ import annotations

from changeover.openapi.operation import JSON, Failure, json_of, together


def test_errors_are_put_together_by_status() -> None:
    """In the order of the statuses, each reason once, and nothing given is changed."""
    door, model = {503: ("a", "b"), 400: ("c",)}, {503: ("b", "d"), 404: ("e",)}
    found = together(door, model)
    assert found == {400: ("c",), 404: ("e",), 503: ("a", "b", "d")}
    assert list(found) == [400, 404, 503]
    assert door[503] == ("a", "b")


def test_a_body_is_json_of_a_type_or_of_any_object() -> None:
    """By the media type."""
    assert json_of(Failure) == {JSON: Failure}
    assert json_of() == {JSON: {"type": "object"}}
