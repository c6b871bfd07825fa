"""The version that is tuned: its files as it came, the model that is measured, what a tuned one is made of.

Where its plan has an `interface`, what is measured is the model with these steps round it, since golden set and
requests are the clients'. A tuned version has either the model's own file and the steps, or the adapted model in
another precision and no steps: never what a server has put beside a model that it adapted, which speaks of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from changeover.errors import InvalidPlan, ModelRejected
from changeover.interface.merge import adapt
from changeover.interface.steps import Step
from changeover.lifecycle.adaptation import OWN, STEPS, made_in
from changeover.lifecycle.source import MODEL_FILE, PLAN_FILE
from changeover.lifecycle.walk import walk
from changeover.rollout.offer import config_in
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.triton_config import understood
from changeover.workbench.described import model_path, read

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan that counts for a version.

    Attributes:
        file: of it, with its `text`; None where there is none.
        plan: with what a `config.pbtxt` says; None where neither says anything.
    """

    file: Path | None = None
    text: str = ""
    plan: Plan | None = None

    @property
    def steps(self) -> tuple[Step, ...] | None:
        """Of its adapter; None where nobody says."""
        return self.plan.interface if self.plan is not None else None


def planned(model: Path, given: Path | None) -> Planned:
    """The plan that was named, else the one that a repository has for this version.

    Raises:
        InvalidPlan: it is none, or cannot be read.
    """
    folders = _folders(model)
    file = given or beside(model, PLAN_FILE)
    config = config_in(folders)
    if file is None and config is None:
        return Planned()
    try:
        text = file.read_bytes() if file is not None else b""
    except OSError as error:
        raise InvalidPlan(f"{file} cannot be read ({error.strerror})", reason="invalid_plan") from None
    plan = parse_plan(text, str(file), understood(config).plan if config is not None else {})
    return Planned(file, text.decode(), plan)


def beside(model: Path, name: str) -> Path | None:
    """What lies beside a version's model file, or beside the versions of its model."""
    return next((place for folder in _folders(model) if (place := folder / name).exists()), None)


def _folders(model: Path) -> list[Path]:
    """A version's own, and that of its model, wherever the path begins: `model.onnx` has parents too."""
    return list(model.absolute().parents[:2]) if model.name == MODEL_FILE else []


@dataclass(frozen=True, slots=True)
class Version:
    """A version.

    Attributes:
        model: file that is measured, with the adapter round it where there is one.
        files: as it came, by name; `model.onnx` is the model's own.
        weights: names of those that are parts of the model's own file.
        steps: of the adapter; none where there is none.
    """

    model: Path
    files: Mapping[str, Path]
    weights: frozenset[str]
    steps: tuple[Step, ...]

    def tuned(self, made: Path) -> dict[str, Path]:
        """Files of a version with this model, which is the one that was measured, or that in another precision."""
        if made == self.model:
            return dict(self.files)
        return {**{name: path for name, path in self.files.items() if name not in self.weights}, MODEL_FILE: made}


def opened(given: str, steps: tuple[Step, ...] | None, folder: Path) -> Version:
    """A version by its folder, with all that lies in it but hidden files; or by its model file, with its weights only.

    Args:
        given: path of either; a folder may be one that a server has sealed.
        steps: of its plan; None: there is no plan, so what the server has adapted it by counts.
        folder: where an adapted model is written.

    Raises:
        ModelRejected: there is no model (`source_unreadable`, `not_onnx`), or the steps do not fit it (`interface_*`).
    """
    model, place = model_path(given), Path(given)
    files = _in(place) if place.is_dir() else {MODEL_FILE: model}
    own, base = model, model.parent
    made = made_in(place, files)
    if made is not None:
        steps = made.steps if steps is None else steps
        own = files[MODEL_FILE] = files.pop(OWN)
        del files[STEPS]
    proto = read(own, weights=False)
    weights = frozenset(_locations(proto))
    if not place.is_dir():
        files.update({name: base / name for name in weights if (base / name).is_file()})
    if (made.steps if made is not None else ()) != (steps or ()):
        model = _adapted(proto, base, steps or (), folder)
    return Version(model, files, weights, steps or ())


def _in(folder: Path) -> dict[str, Path]:
    """Plain files by their names, but hidden ones."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): path for name, path in found.items() if not any(part[0] == "." for part in name.parts)}


def _locations(model: ModelProto) -> Iterator[str]:
    """Names of the files that its weights lie in; what leads out of the folder is none."""
    from onnx import TensorProto

    for tensor in walk(model, TensorProto):
        place = next((PurePosixPath(entry.value) for entry in tensor.external_data if entry.key == "location"), None)
        if place is not None and not place.is_absolute() and ".." not in place.parts:
            yield str(place)


def _adapted(model: ModelProto, base: Path, steps: tuple[Step, ...], folder: Path) -> Path:
    """The model with the steps round it, its weights inside."""
    from google.protobuf.message import EncodeError
    from onnx import checker, external_data_helper

    target = folder / MODEL_FILE
    adapt(model, steps)
    try:
        external_data_helper.load_external_data_for_model(model, str(base))
    except (OSError, ValueError, checker.ValidationError) as error:
        raise ModelRejected(f"{base}: {error}", reason="external_data_missing") from None
    try:
        target.write_bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        what = "With its adapter the model cannot be written, as when it is over 2 GiB with its weights"
        raise ModelRejected(f"{what}: {error}", reason="model_too_large") from None
    return target
