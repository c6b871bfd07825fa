"""Shared memory regions: what may be registered, and that no client's file can hurt the gateway."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.errors import ChangeoverError
from changeover.gateway.common import Common
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.shared_memory import Regions
from changeover.protocol.oip import InferRequest, Place
from changeover.tensors import Datatype, Tensor
from changeover.transport.board import Board, create_board
from tests.gateway.extended import ask
from tests.gateway.stage import Request, Stage, entry, stage

SIZE = 4096
SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    """A client's object."""
    made = SharedMemory(create=True, size=SIZE)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def commons() -> Iterator[list[Common]]:
    """What each of two gateways sees."""
    board = create_board(2)
    yield [Common(Board(board)) for _ in range(2)]
    os.close(board)


@pytest.fixture
def regions(commons: list[Common]) -> Regions:
    """Of the first gateway."""
    return Regions(commons[0], 1 << 20, enabled=True)


def asked(*places: Place) -> InferRequest:
    """A request whose inputs are in shared memory."""
    inputs = [Tensor(f"x{i}", Datatype.INT8, (p.size,), b"") for i, p in enumerate(places)]
    return InferRequest("", inputs, None, {}, False, places=tuple(enumerate(places)))


def descriptors(memory: SharedMemory) -> int:
    """How many of this process's descriptors are the object's, the client's own among them."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(os.readlink(path) == str(SHM / memory.name) for path in links if path.exists())


def refusal(act: Any, *arguments: Any) -> str:
    """The reason word of what is refused."""
    with pytest.raises(ChangeoverError) as refused:
        act(*arguments)
    return refused.value.reason


def test_a_region_is_registered_read_written_and_forgotten(memory: SharedMemory, regions: Regions) -> None:
    """Inputs come out of it, outputs go into it, at their offsets."""
    regions.register("r", {"key": f"/{memory.name}", "offset": 16, "byte_size": 64})
    told = {"name": "r", "key": f"/{memory.name}", "offset": 16, "byte_size": 64}
    assert regions.status("r") == regions.status("") == [told]
    memory.buf[20:24] = b"abcd"
    request = asked(Place("r", 4, 4))
    assert regions.needed(request) == 4
    regions.fetch(request)
    assert bytes(request.inputs[0].data) == b"abcd"
    regions.require(Place("r", 60, 4))
    assert regions.put(Place("r", 8, 8), b"efg") == Place("r", 8, 3)
    assert bytes(memory.buf[24:28]) == b"efg\0"
    regions.unregister("r")
    regions.unregister("r")
    assert regions.status("") == []
    assert refusal(regions.needed, request) == refusal(regions.status, "r") == "shared_memory_unknown"


def test_what_one_gateway_registered_another_opens(memory: SharedMemory, commons: list[Common]) -> None:
    """And lets go of when it is unregistered; one that took its time may miss an object that was removed."""
    own = descriptors(memory)
    one, two = (Regions(common, 1 << 20, enabled=True) for common in commons)
    one.register("r", {"key": memory.name, "byte_size": SIZE})
    two.follow()
    two.put(Place("r", 0, 1), b"!")
    assert memory.buf[0] == ord("!")
    assert descriptors(memory) == own + 2
    one.unregister("")
    two.follow()
    assert descriptors(memory) == own
    assert refusal(two.put, Place("r", 0, 1), b"!") == "shared_memory_unknown"


def test_a_region_that_is_unregistered_while_another_gateway_opens_it(
    memory: SharedMemory, commons: list[Common], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed over; nothing ends."""
    one, two = (Regions(common, 1 << 20, enabled=True) for common in commons)
    one.register("r", {"key": memory.name, "byte_size": SIZE})
    opens = two._file

    def late(name: str) -> object:
        one.unregister(name)
        return opens(name)

    monkeypatch.setattr(two, "_file", late)
    two.follow()
    two.follow()
    assert two.status("") == []


def test_another_object_under_the_same_name_is_not_the_one_registered(commons: list[Common]) -> None:
    """A gateway that opens it later sees the difference."""
    one, two = (Regions(common, 1 << 20, enabled=True) for common in commons)
    first = SharedMemory(create=True, size=SIZE)
    one.register("r", {"key": first.name, "byte_size": SIZE})
    first.unlink()
    second = SharedMemory(first.name, create=True, size=SIZE)
    try:
        two.follow()
        assert refusal(two.put, Place("r", 0, 1), b"!") == "shared_memory_key"
        one.put(Place("r", 0, 1), b"!")
        assert (first.buf[0], second.buf[0]) == (ord("!"), 0)
    finally:
        second.unlink()
        first.close()
        second.close()


def test_only_names_of_shared_memory_are_opened(regions: Regions, tmp_path: Path) -> None:
    """No path, no link, no folder, no device, nothing of the server's own."""
    link = SHM / f"link-{os.getpid()}"
    folder = SHM / f"folder-{os.getpid()}"
    pipe = SHM / f"pipe-{os.getpid()}"
    own = SHM / f"changeover-{os.getpid()}"
    target = tmp_path / "secret"
    for path in (target, own):
        path.write_bytes(b"x" * 64)
    link.symlink_to(target)
    folder.mkdir()
    os.mkfifo(pipe)
    keys = ["", "/", "..", "/../etc/passwd", "a/b", "//x", ".hidden", "nobody", "a\0b", "x" * 300, str(target)]
    try:
        for key in [*keys, link.name, folder.name, pipe.name, own.name, f"/{own.name}"]:
            assert refusal(regions.register, "r", {"key": key, "byte_size": 1}) == "shared_memory_key", key
    finally:
        for path in (link, pipe, own):
            path.unlink()
        folder.rmdir()
    assert regions.status("") == []


def test_bodies_and_bounds_are_checked(memory: SharedMemory, regions: Regions) -> None:
    """Types, sizes beyond the object, names taken, places beyond the region."""
    key, own = memory.name, descriptors(memory)
    for body in ({}, {"key": 3, "byte_size": 1}, {"key": key}, {"key": key, "byte_size": True}):
        assert refusal(regions.register, "r", body) == "wrong_type"
    for offset, size in ((0, 0), (0, SIZE + 1), (SIZE, 1), (1, SIZE)):
        body = {"key": key, "offset": offset, "byte_size": size}
        assert refusal(regions.register, "r", body) == "shared_memory_bounds"
    assert refusal(regions.register, "x" * 300, {"key": key, "byte_size": 1}) == "shared_memory_name"
    regions.register("r", {"key": key, "byte_size": 64})
    assert refusal(regions.register, "r", {"key": key, "byte_size": 64}) == "shared_memory_name"
    for place in (Place("r", 0, 65), Place("r", 64, 1), Place("r", 1 << 61, 1 << 61)):
        assert refusal(regions.needed, asked(place)) == refusal(regions.require, place) == "shared_memory_bounds"
    assert refusal(regions.put, Place("r", 0, 4), b"12345") == "shared_memory_bounds"
    assert descriptors(memory) == own + 1, "what is refused leaves no descriptor"


def test_a_file_that_is_cut_short_kills_nobody(memory: SharedMemory, regions: Regions) -> None:
    """Reading and writing are refused; the file is not made longer again."""
    regions.register("r", {"key": memory.name, "byte_size": SIZE})
    with (SHM / memory.name).open("r+b") as file:
        file.truncate(8)
    request = asked(Place("r", 0, 64))
    assert regions.needed(request) == 64
    assert refusal(regions.fetch, request) == "shared_memory_bounds"
    assert refusal(regions.put, Place("r", 0, 64), b"x" * 64) == "shared_memory_bounds"
    assert (SHM / memory.name).stat().st_size == 8


def test_one_request_has_no_more_than_a_body(memory: SharedMemory, commons: list[Common]) -> None:
    """The same bytes named many times count each time."""
    small = Regions(commons[0], 3 * SIZE, enabled=True)
    small.register("r", {"key": memory.name, "byte_size": SIZE})
    whole = Place("r", 0, SIZE)
    assert small.needed(asked(whole, whole, whole)) == 3 * SIZE
    assert refusal(small.needed, asked(whole, whole, whole, whole)) == "too_large"


def test_content_is_checked_like_any_other(memory: SharedMemory, regions: Regions) -> None:
    """BYTES and BOOL have to be sound wherever they come from."""
    regions.register("r", {"key": memory.name, "byte_size": 64})
    memory.buf[:4] = b"\x05\x00\x00\x00"
    for datatype, reason in ((Datatype.BYTES, "malformed_bytes"), (Datatype.BOOL, "value_out_of_range")):
        request = asked(Place("r", 0, 4))
        request.inputs[0].datatype = datatype
        request.inputs[0].shape = (1,) if datatype is Datatype.BYTES else (4,)
        assert refusal(regions.fetch, request) == reason


def test_it_is_off_unless_enabled(memory: SharedMemory, commons: list[Common]) -> None:
    """For whatever is asked."""
    off = Regions(commons[0], 1 << 20, enabled=False)
    reasons = {
        refusal(off.status, ""),
        refusal(off.register, "r", {"key": memory.name, "byte_size": 1}),
        refusal(off.unregister, ""),
        refusal(off.require, Place("r", 0, 1)),
        refusal(off.needed, asked(Place("r", 0, 1))),
    }
    assert reasons == {"shared_memory_unsupported"}


def place(name: str, offset: int, size: int) -> dict[str, Any]:
    """The parameters of a tensor in a region."""
    return {"shared_memory_region": name, "shared_memory_offset": offset, "shared_memory_byte_size": size}


def elsewhere(**more: Any) -> Request:
    """One row of `x` at 0 of the region `r`, `y` to be written at 64."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": place("r", 0, 16)}
    outputs = [{"name": "y", "parameters": place("r", 64, 32)}]
    return Request(json.dumps({"inputs": [tensor], "outputs": outputs} | more).encode())


def test_a_request_may_bring_and_take_everything_there(memory: SharedMemory, regions: Regions) -> None:
    """The answer names the place, and its bytes are there before it."""

    async def scenario() -> None:
        async with stage() as here:
            _share(here, regions)
            (worker,) = here.serve(1, entry(7, "1"))
            regions.register("r", {"key": memory.name, "byte_size": SIZE})
            memory.buf[:16] = np.array([1, 2, 3, 4], np.float32).tobytes()
            request = here.ask(elsewhere())
            assert here.models.by_name["m"].held == len(request.body) + 16
            await worker.serve_one(2.0)
            await here.answered(request)
            (output,) = request.json()["outputs"]
            assert output == {"name": "y", "datatype": "FP32", "shape": [1, 4], "parameters": place("r", 64, 16)}
            assert np.frombuffer(memory.buf[64:80], np.float32).tolist() == [2, 4, 6, 8]
            assert here.models.by_name["m"].held == 0

    asyncio.run(scenario())


def test_what_cannot_be_written_is_refused_before_any_work(memory: SharedMemory, regions: Regions) -> None:
    """Outside the region, of an unknown one, together with classes; a place that is too small only shows at the end."""

    async def scenario() -> None:
        async with stage() as here:
            _share(here, regions)
            (worker,) = here.serve(1, entry(7, "1"))
            regions.register("r", {"key": memory.name, "byte_size": 128})
            for parameters, reason in (
                (place("r", 120, 16), "shared_memory_bounds"),
                (place("s", 0, 16), "shared_memory_unknown"),
                ({**place("r", 0, 16), "classification": 1}, "not_classifiable"),
            ):
                told = here.ask(elsewhere(outputs=[{"name": "y", "parameters": parameters}]))
                assert told.json()["reason"] == reason
            assert not here.pipeline.in_flight
            small = here.ask(elsewhere(outputs=[{"name": "y", "parameters": place("r", 64, 8)}]))
            await worker.serve_one(2.0)
            await here.answered(small)
            assert (small.status, small.json()["reason"]) == (400, "shared_memory_bounds")

    asyncio.run(scenario())


def _share(here: Stage, regions: Regions) -> None:
    """Give a stage's pipeline these regions."""
    here.pipeline = Pipeline(here.models, here.pipeline._room, 30.0, regions)
    here.models.serve_with(here.pipeline)


def test_the_port_says_no_while_it_is_off_and_for_cuda_always() -> None:
    """Regions of a GPU can be listed and forgotten, since there are none, and not be registered."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            for method, path in (
                ("GET", "/v2/systemsharedmemory/status"),
                ("GET", "/v2/systemsharedmemory/region/r/status"),
                ("POST", "/v2/systemsharedmemory/region/r/register"),
                ("POST", "/v2/systemsharedmemory/region/r/unregister"),
            ):
                reply = ask(here, method, path, body=b'{"key": "k", "byte_size": 1}' if method == "POST" else b"")
                assert (reply.status, reply.json()["reason"]) == (400, "shared_memory_unsupported")
            assert here.ask(elsewhere()).json()["reason"] == "shared_memory_unsupported"
            assert ask(here, "GET", "/v2/cudasharedmemory/status").json() == []
            assert ask(here, "POST", "/v2/cudasharedmemory/unregister").status == 200
            reply = ask(here, "POST", "/v2/cudasharedmemory/region/r/register")
            assert (reply.status, reply.json()["reason"]) == (400, "cuda_shared_memory_unsupported")
            assert ask(here, "GET", "/v2/cudasharedmemory/region/r/status").status == 404

    asyncio.run(scenario())
