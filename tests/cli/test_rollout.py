"""`changeover rollout`: which commands there are."""

from __future__ import annotations

from changeover.cli.rollout import app


def test_the_fixed_spellings() -> None:
    """Scripts depend on these words."""
    named = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    looking = {"status", "watch", "list", "history", "explain"}
    assert looking | {"start", "pause", "resume", "promote", "abort", "weight", "lint"} <= named
