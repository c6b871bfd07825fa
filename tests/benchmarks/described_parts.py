"""More than 5,000 random requests in parts, each of which takes a test less than half a minute."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from changeover.testing import Server, exchange

CASES = 6_000
PARTS = 4
"""Each has the requests of one mode for one path of an inference, and its share of all other ones."""


def document_of(server: Server) -> dict[str, Any]:
    """The port's own description."""
    pytest.importorskip("schemathesis", reason="its cases are schemathesis's")
    told: dict[str, Any] = exchange(server.http_port, "GET", "/openapi.json").json()
    return told


def ask(server: Server, part: int) -> None:
    """Ask a part: its requests are as many as they should be, and some get as far as the model, or are refused."""
    document = document_of(server)
    from described import INFER, fuzz

    seen: Counter[tuple[str, int]] = fuzz(
        document, f"http://127.0.0.1:{server.http_port}", CASES, number=part, part=slice(part, None, PARTS)
    )
    assert seen.total() >= 5_000 / PARTS
    asked = Counter[int]()
    for (operation, status), count in seen.items():
        asked[status] += count * operation.endswith(INFER)
    assert asked[200] + asked[400] > asked.total() / 5
    assert asked[200] or asked[400] > 100
