"""Triton's classification extension: the highest values of an output, with their indexes and labels, as text.

An output of a model that takes batches is classified row by row, any other as a whole. Equal values keep their order
(which of them are taken is left open where there are more than 1,024), and what is not a number comes last. Values are
written as C++ writes them: six digits behind the point for floats.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from changeover.errors import InvalidRequest, ModelRejected, TooLarge
from changeover.lifecycle.labels import read_labels
from changeover.protocol.oip import RequestedOutput, refusal
from changeover.tensors import Datatype, Tensor, join_bytes
from changeover.transport.control import LoadingEntry

PARAMETER = "classification"
_MOST = 65536
"""Classes of an answer: each takes about a microsecond of the event loop."""
_MOST_VALUES = 1 << 22
"""Values that are compared for one output: about 50 ms."""
_FEW = 1024
"""Values of a row that are simply sorted; of more, the highest are picked first."""
log = logging.getLogger("changeover.gateway")


class Labels:
    """The labels of a version's outputs, read when they are first needed."""

    def __init__(self, entry: LoadingEntry) -> None:
        self._paths = entry.labels
        self._read: dict[str, list[str]] = {}

    def of(self, output: str) -> list[str]:
        """By class; empty for an output that has none."""
        if output not in self._paths:
            return []
        labels = self._read.get(output)
        if labels is None:
            try:
                labels = read_labels(Path(self._paths[output]))
            except ModelRejected as error:
                log.error("answers go out without labels: %s", error.message)  # noqa: TRY400
                labels = []
            self._read[output] = labels
        return labels


def wanted(output: RequestedOutput) -> int:
    """How many classes are asked for; 0 for the output as it is.

    Raises:
        InvalidRequest: `wrong_type`: that is no number of classes.
    """
    value = output.parameters.get(PARAMETER, 0)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise refusal(f"outputs {output.name!r}: {PARAMETER}", f"a whole number from 1 to {_MOST}", value)
    return value


def require_classes(name: str, datatype: Datatype) -> None:
    """Let an output pass whose values can be compared.

    Raises:
        InvalidRequest: `not_classifiable`: it is BYTES or BOOL.
    """
    if datatype in (Datatype.BYTES, Datatype.BOOL):
        raise InvalidRequest(f"output {name!r} is {datatype.name}: it has no highest values", reason="not_classifiable")


def classified(tensor: Tensor, count: int, labels: list[str], *, by_row: bool) -> Tensor:
    """The `count` highest values of each row as BYTES, `VALUE:INDEX` or `VALUE:INDEX:LABEL`.

    Shape `[rows, n]`, or `[n]` where there are no rows; `n` is `count`, or all values when there are fewer.

    Raises:
        TooLarge: too many classes in all rows together, or too many values (`too_many_elements`).
    """
    values = _values(tensor)
    if values.size > _MOST_VALUES:
        raise TooLarge(
            f"output {tensor.name!r} has {values.size} values; {_MOST_VALUES} are the most that are compared",
            reason="too_many_elements",
        )
    rows = tensor.shape[0] if by_row else 1
    table = values.reshape(rows, -1) if values.size else values.reshape(rows, 0)
    count = min(count, table.shape[1])
    if rows * count > _MOST:
        raise TooLarge(f"{rows} rows of {count} classes: {_MOST} are the most", reason="too_many_elements")
    order = _descending(table, count)
    texts: list[str] = []
    for row, indexes in zip(table, order, strict=True):
        for index in indexes.tolist():
            text = f"{_text(row[index])}:{index}"
            texts.append(f"{text}:{labels[index]}" if index < len(labels) and labels[index] else text)
    shape = (rows, count) if by_row else (count,)
    return Tensor(tensor.name, Datatype.BYTES, shape, join_bytes(texts))


def _values(tensor: Tensor) -> npt.NDArray[Any]:
    flat = np.frombuffer(tensor.data, tensor.datatype.numpy)
    if tensor.datatype is Datatype.BF16:
        return (flat.astype(np.uint32) << 16).view(np.float32)
    return flat


def _descending(table: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
    """Indexes of each row's highest values, from the highest down: a stable order of the values turned over."""
    turned = -table if table.dtype.kind == "f" else ~table  # NaN stays at the end; integers do not overflow
    if table.shape[1] <= _FEW or count == table.shape[1]:
        return np.argsort(turned, axis=1, kind="stable")[:, :count]
    picked = np.sort(np.argpartition(turned, count, axis=1)[:, :count], axis=1)
    order = np.argsort(np.take_along_axis(turned, picked, axis=1), axis=1, kind="stable")
    return np.take_along_axis(picked, order, axis=1)


def _text(value: Any) -> str:
    return f"{float(value):f}" if value.dtype.kind == "f" else str(value)
