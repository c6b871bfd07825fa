"""The right answers come from the version that serves."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.bench.spec import LoadSpec
from changeover.errors import Internal
from changeover.rehearsal.reference import right_answers
from changeover.testing import Server


def test_one_answer_a_sample(shared_server: Server) -> None:
    """Samples on the first axis, as the load generator compares them."""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = right_answers(LoadSpec("double", {"x": x}, port=shared_server.http_port))
    assert found is not None
    assert found.reshape(3, 4).tolist() == (2 * x).tolist()


def test_a_sample_that_is_not_answered(shared_server: Server) -> None:
    """Ends the rehearsal with the server's words."""
    spec = LoadSpec("double", {"x": np.zeros((1, 5), np.float32)}, port=shared_server.http_port)
    with pytest.raises(Internal, match="shape_mismatch"):
        right_answers(spec)
