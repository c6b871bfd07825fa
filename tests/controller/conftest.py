"""A fleet for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controller.house import House


@pytest.fixture
def house() -> Iterator[House]:
    """A house with two gateways in service."""
    made = House()
    made.gateway(1)
    made.gateway(2)
    yield made
    made.close()
