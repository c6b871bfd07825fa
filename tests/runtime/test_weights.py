"""Weights in files of their own: who has them in common, that answers stay the same, and what is never mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from changeover.runtime import session, weights
from changeover.runtime.session import Array, Loaded, Session
from changeover.runtime.warmup import generated_rows
from changeover.transport.control import WorkerSpec
from tests.runtime import weighty_models

ROWS = weighty_models.matrix(9, 2, weighty_models.WIDTH)
Load = Callable[..., Loaded]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a model as the worker of a version does, with the folders of a server."""
    for name in ("cache", "weights"):
        (tmp_path / name).mkdir()

    def loaded(made: onnx.ModelProto, data: str = "") -> Loaded:
        digest = hashlib.sha256(made.SerializeToString()).hexdigest()
        path = tmp_path / f"{digest}.onnx"
        written = onnx.ModelProto()
        written.CopyFrom(made)  # what is saved with external data is changed by it
        onnx.save_model(written, str(path), save_as_external_data=bool(data), location=data or None, size_threshold=0)
        spec = WorkerSpec(1, "m", "1", digest=digest, path=str(path), cache=str(tmp_path / "cache"), empty="",
                          weights=str(tmp_path / "weights"))  # fmt: skip
        return session.load(spec)

    return loaded


def names(folder: Path) -> set[str]:
    """Files of weights in a folder."""
    return {path.name for path in folder.glob("*.weights")}


def mapped(folder: Path) -> set[tuple[str, int]]:
    """Files of a folder that this process maps, with their inodes, as often as they are."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    return {(Path(line[5]).name, int(line[4])) for line in lines}


def rows(loaded: Session) -> list[Array]:
    """Inputs that a model takes."""
    return generated_rows(loaded.inputs, 3, batchable=True)


@pytest.mark.parametrize("name", weighty_models.MODELS)
def test_mapped_weights_answer_the_same(load: Load, name: str) -> None:
    """Bit by bit what the session answers that packed its weights itself, for every operator that packs any."""
    made = weighty_models.MODELS[name]()
    first, again = load(made), load(made)
    assert (first.cache, again.cache) == ("miss", "hit")
    assert first.mapped == 0
    assert again.mapped > weights.LEAST
    given = rows(first.session)
    np.testing.assert_array_equal(again.session.run(given)[0], first.session.run(given)[0])


def test_equal_weights_of_two_versions_are_one_file(load: Load, tmp_path: Path) -> None:
    """Ten layers of which nine are the same: eleven files, and both sessions map the same nine of them."""
    one, two = weighty_models.layers(*range(10)), weighty_models.layers(*range(9), 77)
    kept = []
    seen: list[set[tuple[str, int]]] = []
    for made in (one, two):
        load(made)
        before = mapped(tmp_path / "weights")
        kept.append(load(made))
        seen.append(mapped(tmp_path / "weights") - before)
    assert len(names(tmp_path / "weights")) == 11
    assert (len(seen[0]), len(seen[1])) == (10, 1)
    assert names(tmp_path / "cache") == set()
    answers = [loaded.session.run([ROWS])[0] for loaded in kept]
    assert not np.array_equal(*answers)


def test_external_data_of_a_version_is_shared_too(load: Load, tmp_path: Path) -> None:
    """What lies in a file beside the model is no other weight than the same inside of one."""
    inside, beside = weighty_models.layers(1, 2), weighty_models.layers(1, 2, 3)
    load(inside), load(inside)
    own = names(tmp_path / "weights")
    assert len(own) == 2
    first, again = load(beside, "beside.bin"), load(beside, "beside.bin")
    assert (first.cache, again.cache) == ("miss", "hit")
    np.testing.assert_array_equal(first.session.run([ROWS])[0], again.session.run([ROWS])[0])
    assert own < names(tmp_path / "weights")
    assert len(names(tmp_path / "weights")) == 3


def test_small_weights_stay_in_the_graph(load: Load, tmp_path: Path) -> None:
    """A bias has no file, and a model of nothing but such has none at all."""
    load(weighty_models.layers(1))
    assert len(names(tmp_path / "cache")) == 1
    (graph,) = (tmp_path / "cache").glob("*.onnx")
    kinds = [
        tensor.data_location == tensor.EXTERNAL
        for tensor in onnx.load(graph, load_external_data=False).graph.initializer
    ]
    assert sorted(kinds) == [False, True]


def test_a_file_that_was_changed_is_not_mapped(load: Load, tmp_path: Path) -> None:
    """A byte less, a byte else: the model's own file counts, and the next load has sound ones."""
    made = weighty_models.layers(1)
    load(made), load(made)
    (path,) = (tmp_path / "weights").iterdir()
    for damage in (lambda data: data[:-1], lambda data: b"\xff" + data[1:], lambda _: b""):
        path.chmod(0o600)
        path.write_bytes(damage(path.read_bytes()))
        again = load(made)
        assert again.cache == "miss"
        assert np.isfinite(again.session.run([ROWS])[0]).all()
        assert load(made).cache == "hit"


def test_what_is_mapped_lies_where_no_prover_writes(load: Load, tmp_path: Path) -> None:
    """Who still has a file of the cache open changes nothing any more: what was hashed is a copy of it."""
    made = weighty_models.layers(1)
    expected = load(made).session.run([ROWS])[0]
    (left,) = (tmp_path / "cache").glob("*.weights")
    left.chmod(0o600)
    with left.open("r+b") as hostile:
        loaded = load(made)
        hostile.write(b"\xff" * 4096)
        hostile.flush()
        hostile.truncate(0)
        np.testing.assert_array_equal(loaded.session.run([ROWS])[0], expected)
    (path,) = (tmp_path / "weights").iterdir()
    assert path.stat().st_mode & 0o777 == 0o400
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "secret.weights", "", f"{hashlib.sha256().hexdigest()}.weights"]
)
def test_a_graph_that_names_other_files_is_not_taken(tmp_path: Path, location: str) -> None:
    """Only names that say what a file holds, with a length; and what is no graph names nothing."""
    (tmp_path / f"{hashlib.sha256().hexdigest()}.weights").touch()
    made = weighty_models.layers(1)
    tensor = made.graph.initializer[0]
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    assert weights.ready(made.SerializeToString(), tmp_path, tmp_path) is None
    assert weights.ready(b"no graph", tmp_path, tmp_path) is None


def test_a_link_is_not_followed(load: Load, tmp_path: Path) -> None:
    """Neither in the cache nor among the weights, though what it leads to is right."""
    made = weighty_models.layers(1)
    load(made)
    (left,) = (tmp_path / "cache").glob("*.weights")
    left.rename(tmp_path / "elsewhere")
    for place in (left, tmp_path / "weights" / left.name):
        place.symlink_to(tmp_path / "elsewhere")
        assert load(made).cache == "miss"
        place.unlink(missing_ok=True)


def test_no_room_for_weights_is_no_reason_to_fail(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full while they are parted, or taken over: the model is loaded without, and no half file stays."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    made = weighty_models.layers(1)
    with monkeypatch.context() as at_first:
        at_first.setattr(weights, "_written", full)
        assert load(made).cache == "miss"
        assert list((tmp_path / "cache").iterdir()) == []
    load(made)
    with monkeypatch.context() as later:
        later.setattr(weights, "_take_over", full)
        assert load(made).cache == "miss"
    assert load(made).cache == "hit"
    assert [name for name in os.listdir(tmp_path / "weights") if name.startswith(".")] == []


def test_a_graph_with_data_elsewhere_is_not_parted(tmp_path: Path) -> None:
    """What ONNX Runtime would have left in the version's own files is none of ours."""
    made = weighty_models.layers(1)
    graph, data = tmp_path / "graph.onnx", tmp_path / "graph.data"
    onnx.save_model(made, str(graph), save_as_external_data=True, location="others.bin")
    data.write_bytes(b"none")
    with pytest.raises(ValueError, match="is not in"):
        weights.part(graph, data)
