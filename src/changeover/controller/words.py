"""Which word of the route page belongs to which model."""

from __future__ import annotations

import msgspec

from changeover.controller.fleet import Fleet
from changeover.errors import InvalidRequest
from changeover.transport.control import RoutingTable
from changeover.transport.page import SERVER_WORD, WORDS


def in_use(fleet: Fleet) -> dict[str, int]:
    """Words by model, as an earlier term left them in the store."""
    words: dict[str, int] = {}
    for record in fleet.tables():
        words[msgspec.json.decode(record.data, type=RoutingTable).model] = record.word
    return words


def free(words: dict[str, int]) -> int:
    """A word that no model has.

    Raises:
        InvalidRequest: there is none left (`too_many_models`).
    """
    used = set(words.values())
    for word in range(SERVER_WORD + 1, WORDS):
        if word not in used:
            return word
    raise InvalidRequest(f"this server has {WORDS - 1} models, which is its limit", reason="too_many_models")
