"""Multiplications counted from shapes."""

from __future__ import annotations

import numpy as np

from changeover.workbench.cost import multiplications
from tests.interface.adapting import FLOAT, model, node


def test_a_convolution() -> None:
    """Each of 4 times 6 times 6 values takes 2 channels of 3 by 3."""
    plain = model([node("Conv", "x", "w", "y")], [("x", FLOAT, ["N", 2, 8, 8])], [("y", FLOAT, ["N", 4, 6, 6])],
                  w=np.zeros((4, 2, 3, 3), np.float32))  # fmt: skip
    assert multiplications(plain) == 4 * 6 * 6 * 2 * 3 * 3


def test_products_of_matrices() -> None:
    """A matrix product, and a Gemm whose first matrix is turned."""
    plain = model([node("MatMul", "x", "w", "m"), node("Gemm", "w", "k", "g", transA=1)],
                  [("x", FLOAT, ["N", 5])], [("m", FLOAT, ["N", 7]), ("g", FLOAT, [7, 3])],
                  w=np.zeros((5, 7), np.float32), k=np.zeros((5, 3), np.float32))  # fmt: skip
    assert multiplications(plain) == 5 * 7 + 7 * 3 * 5


def test_a_recurrent_layer() -> None:
    """Every step multiplies with the weights of the input and of the state."""
    weights = {"w": np.zeros((1, 16, 3), np.float32), "r": np.zeros((1, 16, 4), np.float32)}
    layer = node("LSTM", "x", "w", "r", "y", hidden_size=4)
    plain = model([layer], [("x", FLOAT, [6, 1, 3])], [("y", FLOAT, [6, 1, 1, 4])], **weights)
    assert multiplications(plain) == 6 * (16 * 3 + 16 * 4)


def test_what_costs_nothing() -> None:
    """An addition is no multiplication."""
    plain = model([node("Add", "x", "x", "y")], [("x", FLOAT, ["N", 5])], [("y", FLOAT, ["N", 5])])
    assert multiplications(plain) == 0
