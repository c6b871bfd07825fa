"""Watching a repository: versions come in promptly and once, however they are put there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import watchfiles

from changeover.lifecycle.watch import Observation, watch
from tests.lifecycle.onnx_files import linear, write

MODEL = linear().SerializeToString()


async def following(stream: AsyncIterator[Observation], within: float = 60) -> Observation:
    """The next observation, inside a bounded time."""
    return await asyncio.wait_for(anext(stream), within)


async def silence(stream: AsyncIterator[Observation], seconds: float) -> AsyncIterator[Observation]:
    """Nothing is told for so long."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), seconds)
    return stream


def started(repository: Path) -> tuple[AsyncIterator[Observation], asyncio.Event]:
    stop = asyncio.Event()
    return watch(repository, stop, settle=0.2, rescan=1.0), stop


def test_what_is_there_at_the_start_is_told(tmp_path: Path) -> None:
    """All versions of the first reading come in one observation, and the generator ends when told to."""

    async def scenario() -> None:
        write(tmp_path / "m" / "1", MODEL)
        write(tmp_path / "m" / "2", MODEL)
        stream, stop = started(tmp_path)
        assert await following(stream) == Observation(settled=(("m", 1), ("m", 2)))
        stop.set()
        with pytest.raises(StopAsyncIteration):
            await following(stream)

    asyncio.run(scenario())


def test_the_first_observation_waits_for_what_is_there(tmp_path: Path) -> None:
    """A misplaced file that could be told at once does not come before the versions that must settle first."""

    async def scenario() -> None:
        (tmp_path / "README.md").write_text("models")
        write(tmp_path / "m" / "latest", MODEL)
        write(tmp_path / "m" / "1", MODEL)
        stream, stop = started(tmp_path)
        first = await following(stream)
        assert first.settled == (("m", 1),)
        assert first.ignored
        stop.set()

    asyncio.run(scenario())


def test_new_changed_and_removed_versions_are_told(tmp_path: Path) -> None:
    """A copied folder, a folder renamed into place, new bytes under an old number, a removed folder."""

    async def scenario() -> None:
        repository = tmp_path / "models"
        repository.mkdir()
        stream, stop = started(repository)
        assert await following(stream) == Observation(), "an empty repository is told too: the server waits for it"
        write(repository / "m" / "1", MODEL)
        assert await following(stream) == Observation(settled=(("m", 1),))
        write(tmp_path / "aside", MODEL)
        os.rename(tmp_path / "aside", repository / "m" / "2")
        assert await following(stream) == Observation(settled=(("m", 2),))
        write(repository / "m" / "2", MODEL, model_data=b"more")
        assert await following(stream) == Observation(settled=(("m", 2),))
        shutil.rmtree(repository / "m" / "1")
        assert await following(stream) == Observation(removed=(("m", 1),))
        stop.set()

    asyncio.run(scenario())


def test_a_slow_copy_is_taken_only_when_it_is_whole(tmp_path: Path) -> None:
    """A model that arrives in pieces, with pauses over the settling time, comes once, at the end."""

    async def scenario() -> None:
        stream, stop = started(tmp_path)
        waiting = asyncio.ensure_future(following(stream))
        folder = tmp_path / "m" / "1"
        folder.mkdir(parents=True)
        for end in (100, 150, len(MODEL)):
            assert not waiting.done()
            with (folder / "model.onnx").open("ab") as file:
                file.write(MODEL[file.tell() : end])
            await asyncio.sleep(0.5 if end < len(MODEL) else 0)
        assert await waiting == Observation(settled=(("m", 1),))
        stop.set()

    asyncio.run(scenario())


def test_what_could_not_be_taken_is_told_again(tmp_path: Path) -> None:
    """Once, and soon, though nothing in its folder changed; one that is gone by then is not."""

    async def scenario() -> None:
        write(tmp_path / "m" / "1", MODEL)
        anew: set[tuple[str, int]] = set()
        stop = asyncio.Event()
        stream = watch(tmp_path, stop, settle=0.2, rescan=60.0, anew=anew)
        assert await following(stream) == Observation(settled=(("m", 1),))
        anew |= {("m", 1), ("m", 2)}
        assert await following(stream) == Observation(settled=(("m", 1),))
        assert not anew
        await silence(stream, 0.6)
        stop.set()

    asyncio.run(scenario())


def test_a_repository_that_comes_later_is_found(tmp_path: Path) -> None:
    """A missing folder is told, and watched for."""

    async def scenario() -> None:
        stream, stop = started(tmp_path / "models")
        first = await following(stream)
        assert len(first.ignored) == 1
        write(tmp_path / "models" / "m" / "1", MODEL)
        found = await following(stream)
        while not found.settled:
            found = await following(stream)
        assert found.settled == (("m", 1),)
        stop.set()

    asyncio.run(scenario())


def test_without_notices_rescans_find_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no watches left, the clock alone is enough."""

    def no_watches(*_: object, **__: object) -> None:
        raise OSError(28, "OS file watch limit reached")

    async def scenario() -> None:
        monkeypatch.setattr(watchfiles, "awatch", no_watches)
        stream, stop = started(tmp_path)
        assert await following(stream) == Observation()
        write(tmp_path / "m" / "1", MODEL)
        assert await following(stream) == Observation(settled=(("m", 1),))
        stop.set()

    asyncio.run(scenario())


def test_misplaced_things_are_told_once(tmp_path: Path) -> None:
    """A folder with a wrong name is named when it appears, not at each reading."""

    async def scenario() -> None:
        write(tmp_path / "m" / "latest", MODEL)
        stream, stop = started(tmp_path)
        first = await following(stream)
        assert [sentence.startswith(f"{tmp_path}/m/latest ") for sentence in first.ignored] == [True]
        await silence(stream, 2.5)
        stop.set()

    asyncio.run(scenario())
