"""A sealed version with an adapter is another artifact, which remembers what it was made from."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle import adaptation
from changeover.lifecycle.adaptation import adapted, made_from
from changeover.lifecycle.artifacts import Artifact, digests, verify_sealed
from changeover.lifecycle.seal import seal_folder
from changeover.lifecycle.verify import verify
from tests.interface.adapting import steps
from tests.lifecycle.onnx_files import external, linear, write

NAMES = steps({"rename": {"x": "rows"}})
TYPES = steps({"cast": {"y": "FP64"}})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


@pytest.fixture
def plain(tmp_path: Path, store: Path) -> Artifact:
    """`y = x @ w` with its weights in another file, and a golden set."""
    model = linear(external()).SerializeToString()
    folder = write(tmp_path / "1", model, model_data=bytes(36))
    (folder / "golden").mkdir()
    (folder / "golden" / "a.npz").write_bytes(b"golden")
    return seal_folder(folder, store)


def test_no_steps(plain: Artifact, store: Path) -> None:
    """Without steps a version is the one that it was, and nothing is written."""
    assert adapted(plain, (), store) == plain
    assert digests(store) == [plain.digest]


def test_an_adapted_version_is_a_sound_one(plain: Artifact, store: Path) -> None:
    """It has a digest of its own, all files of the version, clients' names, and passes what any version must pass."""
    made = adapted(plain, NAMES, store)
    assert made.digest != plain.digest
    assert verify_sealed(store, made.digest) == made
    assert [spec.name for spec in verify(made.folder).inputs] == ["rows"]
    assert (made.folder / "model.data").read_bytes() == bytes(36)
    assert (made.folder / "golden" / "a.npz").read_bytes() == b"golden"
    told = made_from(made)
    assert told is not None
    assert (told.source, told.steps) == (plain.digest, NAMES)


def test_the_same_steps_give_the_same_version(plain: Artifact, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody adapts twice: not the version as it came, and not the one that is adapted already."""
    made = adapted(plain, NAMES, store)
    monkeypatch.setattr(adaptation, "_adapt", lambda *_: pytest.fail("adapted again"))
    assert adapted(plain, NAMES, store) == made
    assert adapted(made, NAMES, store) == made


def test_other_steps_count_from_the_models_own(plain: Artifact, store: Path) -> None:
    """An adapted version adapted otherwise is what the version as it came would have been, and without steps that."""
    made = adapted(plain, NAMES, store)
    other = adapted(made, TYPES, store)
    told = made_from(other)
    assert told is not None
    assert told.source == plain.digest
    assert [spec.name for spec in verify(other.folder).inputs] == ["x"]
    assert adapted(other, (), store) == plain


def test_what_came_is_made_again_from_what_is_kept(plain: Artifact, store: Path, tmp_path: Path) -> None:
    """The version as it came may be gone from the store: it is made of its adapted one, byte by byte."""
    made = adapted(plain, NAMES, store)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert adapted(made, (), elsewhere).digest == plain.digest


def test_a_refusal_comes_back_as_it_was(plain: Artifact, store: Path) -> None:
    """What the other process refuses is refused here with its reason; nothing is left in the store."""
    with pytest.raises(ModelRejected) as caught:
        adapted(plain, steps({"rename": {"z": "rows"}}), store)
    assert caught.value.reason == "interface_unfit"
    assert "only 'x', 'y'" in caught.value.message
    assert [path.name for path in store.iterdir()] == [plain.digest]


def test_a_file_that_is_no_model(tmp_path: Path, store: Path) -> None:
    """It is verified before anything is built on it."""
    sealed = seal_folder(write(tmp_path / "1", b"no model"), store)
    with pytest.raises(ModelRejected) as caught:
        adapted(sealed, NAMES, store)
    assert caught.value.reason == "not_onnx"


def test_a_process_that_dies(plain: Artifact, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file does to the process that reads it, the server only hears of its end."""
    monkeypatch.setattr(adaptation.sys, "executable", "/bin/false")
    with pytest.raises(ModelRejected) as caught:
        adapted(plain, NAMES, store)
    assert caught.value.reason == "interface_failed"
    assert [path.name for path in store.iterdir()] == [plain.digest]


def test_the_adapter_is_in_the_file(plain: Artifact, store: Path) -> None:
    """The adapted file alone is the whole model: the gateway has nothing to do with it."""
    made = onnx.load(adapted(plain, TYPES, store).model, load_external_data=False)
    assert [node.op_type for node in made.graph.node] == ["MatMul", "Cast"]
