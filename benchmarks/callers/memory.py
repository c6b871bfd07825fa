"""System shared memory: regions, and tensors in them; and memory of a GPU, which this server does not have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.utils.shared_memory as shm

from callers.book import Cases, holds, same
from callers.tritons import ALL, A, B, Triton, alike

CASES = Cases()
SIZE = A.nbytes


@contextmanager
def _region(caller: Triton) -> Iterator[tuple[Any, str]]:
    """Memory for the inputs and outputs of `sums`, and its key."""
    key = f"/bench_{caller.kind}_{os.getpid()}"
    handle = shm.create_shared_memory_region("mine", key, 4 * SIZE)
    try:
        yield handle, key
    finally:
        shm.destroy_shared_memory_region(handle)


def _region_of(caller: Triton, output: Any) -> str:
    """Where an answer says that an output is; the clients' `as_numpy` reads no regions."""
    if caller.over_http:
        return str(output["parameters"]["shared_memory_region"])
    return str(output.parameters["shared_memory_region"].string_param)


async def _status(caller: Triton, name: str = "") -> dict[str, tuple[str, int, int]]:
    told = await caller.plain("get_system_shared_memory_status", name)
    rows = told if caller.over_http else list(told.get("regions", {}).values())
    return {row["name"]: (row["key"], int(row.get("offset", 0)), int(row["byte_size"])) for row in rows}


@CASES.case("system shared memory: register, status, unregister", ALL)
async def _(caller: Triton) -> None:
    same(await _status(caller), {})
    with _region(caller) as (_, key):
        await caller.call("register_system_shared_memory", "mine", key, 4 * SIZE)
        await caller.call("register_system_shared_memory", "half", key, SIZE, offset=SIZE)
        same(await _status(caller), {"mine": (key, 0, 4 * SIZE), "half": (key, SIZE, SIZE)})
        same(await _status(caller, "half"), {"half": (key, SIZE, SIZE)})
        again = caller.call("register_system_shared_memory", "mine", key, SIZE)
        holds(await caller.fails(again), "registered already")
        beyond = caller.call("register_system_shared_memory", "more", key, 1 << 20)
        holds(await caller.fails(beyond), "more")
        await caller.call("unregister_system_shared_memory", "half")
        same(list(await _status(caller)), ["mine"])
        await caller.call("unregister_system_shared_memory")
        same(await _status(caller), {})
    holds(await caller.fails(_status(caller, "mine")), "mine")


@CASES.case("infer through system shared memory", ALL)
async def _(caller: Triton) -> None:
    with _region(caller) as (handle, key):
        shm.set_shared_memory_region(handle, [A, B])
        await caller.call("register_system_shared_memory", "mine", key, 4 * SIZE)
        try:
            puts = [caller.module.InferInput(name, [2, 16], "INT32") for name in ("a", "b")]
            wants = [caller.want(name) for name in ("sum", "difference")]
            for place, tensor in enumerate([*puts, *wants]):
                tensor.set_shared_memory("mine", SIZE, offset=place * SIZE)
            result = await caller.call("infer", "sums", puts, outputs=wants)
            same(_region_of(caller, result.get_output("sum")), "mine")
            alike(shm.get_contents_as_numpy(handle, np.int32, [2, 16], 2 * SIZE), A + B)
            alike(shm.get_contents_as_numpy(handle, np.int32, [2, 16], 3 * SIZE), A - B)
            puts[0].set_shared_memory("mine", SIZE, offset=4 * SIZE)
            holds(await caller.fails(caller.call("infer", "sums", puts, outputs=wants)), "mine")
        finally:
            await caller.call("unregister_system_shared_memory", "mine")


@CASES.case("cuda shared memory: register", ALL, outside=True)
async def _(caller: Triton) -> None:
    asked = caller.call("register_cuda_shared_memory", "gpu", b"\0" * 64, 0, 1024)
    error = await caller.fails(asked)
    holds(error.status(), "400" if caller.over_http else "INVALID_ARGUMENT")  # type: ignore[attr-defined]
    holds(error, "memory", "send")  # what to do instead


@CASES.case("cuda shared memory: status, unregister", ALL, outside=True)
async def _(caller: Triton) -> None:
    """Nothing is registered: an empty list, or the word that there is no such thing."""
    for name, empty in (("get_cuda_shared_memory_status", ([], {})), ("unregister_cuda_shared_memory", (None,))):
        try:
            told = await (caller.plain(name) if name.startswith("get") else caller.call(name))
        except Exception as error:  # noqa: BLE001 - looked at
            holds(error, "UNIMPLEMENTED", "memory")
        else:
            same(told in empty, True)
