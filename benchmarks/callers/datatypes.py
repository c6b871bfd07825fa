"""Every datatype through a model that gives back what it gets, in every form that the clients have.

BYTES are UTF-8, since strings of ONNX are nothing else.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from callers.book import Cases, Check
from callers.tritons import ALL, HTTP, Triton, alike

CASES = Cases()


def _whole(kind: type) -> Any:
    limits = np.iinfo(kind)
    return np.array([[limits.min, 0, 1], [2, 3, limits.max]], kind)


def _real(kind: type, most: float, least: float) -> Any:
    return np.array([[-0.0, 1.5, -2.25], [most, least, np.inf]], kind)


VALUES: dict[str, Any] = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    **{f"{'U' * (kind[0] == 'u')}INT{kind.lstrip('uint')}": _whole(np.dtype(kind).type) for kind in (
        "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
    "FP16": _real(np.float16, 65504, 6e-8),
    "FP32": _real(np.float32, 3.4028235e38, 1e-45),
    "FP64": _real(np.float64, 1.7976931348623157e308, 5e-324),
    "BF16": np.array([[-0.0, 1.5, -2.25], [3e38, 1e-38, 256]], ml_dtypes.bfloat16),
    "BYTES": np.array([[b"", b"one", "grün".encode()], [b'"', b"x" * 300, b"\n"]], object),
}  # fmt: skip


def _raw(datatype: str) -> Check:
    async def check(caller: Triton) -> None:
        values = VALUES[datatype]
        result = await caller.call("infer", f"same_{datatype}", [caller.put("x", values, datatype)])
        alike(result.as_numpy("y"), values)

    return check


def _json(datatype: str) -> Check:
    """JSON has no infinity."""

    async def check(caller: Triton) -> None:
        values = VALUES[datatype].copy()
        if datatype.startswith("FP"):
            values[1, 2] = 7
        for into, out in ((False, False), (False, True), (True, False)):
            put, want = caller.put("x", values, datatype, binary=into), caller.want("y", binary=out)
            result = await caller.call("infer", f"same_{datatype}", [put], outputs=[want])
            alike(result.as_numpy("y"), values)

    return check


for _datatype in VALUES:
    CASES.case(f"infer {_datatype}, binary", ALL)(_raw(_datatype))
for _datatype in [known for known in VALUES if known != "BF16"]:  # which the clients send as binary only
    CASES.case(f"infer {_datatype}, JSON", HTTP)(_json(_datatype))
