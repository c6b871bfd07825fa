"""The other half of the random requests: those of `/versions/…/infer`, in a file of its own for another process."""

from __future__ import annotations

import pytest

from changeover.testing import Server
from tests.benchmarks.described_parts import PARTS, ask


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS // 2, PARTS))
def test_every_answer_is_described(shared_server: Server, part: int) -> None:
    """Status, form and reason, whether the request fits its description or not."""
    ask(shared_server, part)
