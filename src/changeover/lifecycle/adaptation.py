"""A sealed version with the adapter that its plan asks for: another artifact, with a digest over model and adapter.

Beside the adapted `model.onnx` it keeps what it was made from: the model's own file and the steps. So it can be adapted
otherwise later, and nobody adapts it twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from changeover.errors import Internal, ModelRejected
from changeover.interface.steps import Step
from changeover.lifecycle import artifacts
from changeover.lifecycle.adapting import REFUSED, SECONDS, Refusal
from changeover.lifecycle.artifacts import TEMPORARY_PREFIX, Artifact, discard
from changeover.lifecycle.seal import seal_files
from changeover.lifecycle.source import MODEL_FILE
from changeover.transport.exits import how

FOLDER: Final = "interface"
"""Part of a version's folder with what an adapted version was made from."""
OWN: Final = f"{FOLDER}/{MODEL_FILE}"
STEPS: Final = f"{FOLDER}/steps.json"
"""The model's own file and what it was adapted by, in the folder of an adapted version."""
_MOST_BYTES: Final = 1 << 20
_PATIENCE: Final = 600.0
"""Seconds on the clock: at the lowest priority its processor time takes long on a busy machine."""


class Made(msgspec.Struct, frozen=True):
    """What an adapted version was made from: the digest of the sealed version, and the steps."""

    source: str
    steps: tuple[Step, ...]


def adapted(artifact: Artifact, steps: tuple[Step, ...], store: Path) -> Artifact:
    """The version with these steps round its own model; itself when it is that already.

    Args:
        artifact: sealed; adapted by other steps, its own model counts.
        steps: of the plan; none gives the model as it is.
        store: folder of the artifacts.

    Raises:
        ModelRejected: the model is no sound file (as `verify`), a step does not fit it (`interface_unfit`), loses
            data (`interface_lossy`), or the adapting process died of it (`interface_failed`).
        Internal: `artifacts_unwritable`.
    """
    if is_adapted(artifact, steps):
        return artifact
    made = made_from(artifact)
    source = made.source if made else artifact.digest
    return _there(Made(source, steps), store) or _made(artifact, Made(source, steps), store, again=made is not None)


def is_adapted(artifact: Artifact, steps: tuple[Step, ...]) -> bool:
    """Whether a version has these steps already."""
    made = made_from(artifact)
    return (made.steps if made else ()) == steps


def made_from(artifact: Artifact) -> Made | None:
    """What an adapted version was made from; None of one that is as it came."""
    return made_in(artifact.folder, {file.name for file in artifact.manifest.files})


def made_in(folder: Path, names: Collection[str]) -> Made | None:
    """The same of a version's folder that has files of these names."""
    if not {OWN, STEPS} <= set(names):
        return None
    try:
        with (folder / STEPS).open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Made)
    except (OSError, msgspec.MsgspecError):
        return None  # a folder that happens to have such files


def _there(wanted: Made, store: Path) -> Artifact | None:
    """The artifact that an earlier adaptation gave: another release need not write the same bytes."""
    if not wanted.steps:
        with suppress(ModelRejected):
            return artifacts.open_artifact(store, wanted.source)
        return None
    for digest in artifacts.digests(store):
        with suppress(ModelRejected):
            found = artifacts.open_artifact(store, digest)
            if made_from(found) == wanted:
                return found
    return None


def _made(artifact: Artifact, wanted: Made, store: Path, *, again: bool) -> Artifact:
    own = artifact.folder / (OWN if again else MODEL_FILE)
    rest = {
        file.name: artifact.folder / file.name
        for file in artifact.manifest.files
        if file.name not in (MODEL_FILE, OWN, STEPS)
    }
    if not wanted.steps:
        return seal_files({MODEL_FILE: own, **rest}, store)
    temporary = _folder(store)
    try:
        model, told = temporary / MODEL_FILE, temporary / "steps.json"
        _adapt(own.parent if not again else _as_it_came(artifact, temporary), wanted.steps, model)
        told.write_bytes(msgspec.json.encode(wanted))
        return seal_files({MODEL_FILE: model, OWN: own, STEPS: told, **rest}, store)
    except OSError as error:
        raise _unwritable(store, error) from error
    finally:
        discard(temporary)


def _folder(store: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=store))
    except OSError as error:
        raise _unwritable(store, error) from error


def _as_it_came(artifact: Artifact, temporary: Path) -> Path:
    """A folder as the version's was before it was adapted; its files are copied, since links are refused."""
    folder = temporary / "own"
    for file in artifact.manifest.files:
        name = MODEL_FILE if file.name == OWN else file.name
        if file.name in (MODEL_FILE, STEPS):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.folder / file.name, target)
    return folder


def _adapt(folder: Path, steps: tuple[Step, ...], target: Path) -> None:
    """Let another process read the file."""
    command = [sys.executable, "-m", "changeover.lifecycle.adapting", str(os.getpid()), str(folder), str(target)]
    try:
        ended = subprocess.run(
            command, input=msgspec.json.encode(steps), capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failed(f"it was not done in {_PATIENCE:g} s") from None
    if ended.returncode == REFUSED:
        refusal = msgspec.json.decode(ended.stdout, type=Refusal)
        raise ModelRejected(refusal.message, reason=refusal.reason)
    if ended.returncode < 0:
        raise _failed(f"the process died by {how(ended.returncode)}, after {SECONDS} s of work at the latest")
    if ended.returncode:
        last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _failed(last[:300] or f"the process ended with {ended.returncode}")


def _failed(why: str) -> ModelRejected:
    return ModelRejected(f"The model cannot be adapted: {why}.", reason="interface_failed")


def _unwritable(store: Path, error: OSError) -> Internal:
    return Internal(
        f"The artifact store {store} cannot be written ({error.strerror}): free disk space or mend its permissions.",
        reason="artifacts_unwritable",
    )
