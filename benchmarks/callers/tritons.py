"""One of tritonclient's four clients: `tritons.py TOLD http|http.aio|grpc|grpc.aio`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, beside the bench's own folder

from callers.book import Caller, Cases, run, same, tell, told, uncalled

HTTP = ("http", "http.aio")
GRPC = ("grpc", "grpc.aio")
ALL = (*HTTP, *GRPC)


class Triton(Caller):
    """A client of tritonclient's, and what makes its requests."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.module = importlib.import_module(f"tritonclient.{where['client']}")
        self.over_http = where["client"] in HTTP
        self.address: str = where["http"] if self.over_http else where["grpc"]
        self.tripled = Path(where["tripled"]).read_bytes()
        super().__init__(self.module.InferenceServerClient(self.address), where)

    async def plain(self, name: str, *given: Any, **named: Any) -> Any:
        """A call's answer as plain values, whatever the protocol."""
        return await self.call(name, *given, **named, **({} if self.over_http else {"as_json": True}))

    def put(self, name: str, array: Any, datatype: str, *, binary: bool = True) -> Any:
        """An input."""
        made = self.module.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, **({"binary_data": binary} if self.over_http else {}))
        return made

    def want(self, name: str, *, binary: bool = True, classes: int = 0) -> Any:
        """An output that is asked for."""
        more = {"binary_data": binary} if self.over_http else {}
        return self.module.InferRequestedOutput(name, class_count=classes, **more)

    def pair(self, *, binary: bool = True) -> list[Any]:
        """The inputs of `sums`."""
        return [self.put(name, array, "INT32", binary=binary) for name, array in (("a", A), ("b", B))]

    def is_sum(self, result: Any) -> None:
        """Both outputs of `sums` for `pair`."""
        alike(result.as_numpy("sum"), A + B)
        alike(result.as_numpy("difference"), A - B)

    def head(self, result: Any) -> dict[str, Any]:
        """What an answer has beside its tensors."""
        found = result.get_response() if self.over_http else result.get_response(as_json=True)
        return dict(found)


A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.full((2, 16), 1000, np.int32)


def alike(found: Any, expected: Any) -> None:
    """Datatype, shape and every bit, -0.0 included; raises as `same`."""
    if found is None:
        raise AssertionError("the output is not in the answer")
    if expected.dtype == np.object_:
        same([e if isinstance(e, bytes) else str(e).encode() for e in found.reshape(-1)], expected.reshape(-1).tolist())
    else:
        same(str(found.dtype), str(expected.dtype))
        if found.tobytes() != np.ascontiguousarray(expected).tobytes():
            raise AssertionError(f"answered {found.tolist()!r}, expected {expected.tolist()!r}")
    same(list(found.shape), list(expected.shape))


def close_to(found: Any, expected: Any) -> None:
    """Scores of a network, which a batch changes in the last bits; raises as `same`."""
    same(list(found.shape), list(expected.shape))
    if not np.allclose(found, expected, atol=1e-3):
        raise AssertionError(f"answered {found.tolist()!r}, expected {expected.tolist()!r}")


def numbers(values: Sequence[Any]) -> list[int]:
    """Whole numbers, which protobuf's JSON has as texts."""
    return [int(value) for value in values]


async def main() -> None:
    """All files' cases with one client."""
    from callers import aside, asked, control, datatypes, memory, ways

    caller = Triton(told())
    cases = Cases()
    for file in (control, asked, datatypes, memory, ways, aside):
        cases.extend(file.CASES)
    await run(caller, cases)
    await last(caller)


async def last(caller: Triton) -> None:
    """Close, and see that no public call of the client was left out."""
    await caller.call("close")
    left = uncalled(caller, caller.module.InferenceServerClient)
    tell("every public call was made", "FAIL" if left else "ok", request=", ".join(left), answer="no case makes them")


if __name__ == "__main__":
    asyncio.run(main())
