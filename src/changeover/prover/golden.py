"""Golden sets: inputs whose right answers are known, in a folder `golden/` beside the version or the model.

Two forms. `*.npz`: one array an input by its name, samples on the first axis, and either `labels` or one array an
output by its name; several files are one set. ONNX's own: `test_data_set_*/input_*.pb` with `output_*.pb`, one sample a
folder, with the shapes that the model takes. What lies there is as hostile as the model: no pickle, and a limit on its
size.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from changeover.errors import ModelRejected
from changeover.tensors import Datatype, TensorSpec

Array = npt.NDArray[Any]
LABELS: Final = "labels"
_MOST_BYTES: Final = 2 << 30
_MOST_FILES: Final = 10_000
_SEED: Final = 11


@dataclass(slots=True)
class GoldenSet:
    """Samples and what is right for them.

    Attributes:
        folder: where it lies.
        digest: of all its files.
        inputs: by name, one item a sample.
        labels: one a sample; None where outputs are recorded.
        outputs: by name, one item a sample; empty where there are labels.
        whole: an item is all that a run takes, its batch dimension included.
        lengths: of sequences, whose steps the samples are, one sequence after the other; empty where there are none.
    """

    folder: Path
    digest: str = ""
    inputs: dict[str, list[Array]] = field(default_factory=dict)
    labels: list[Any] | None = None
    outputs: dict[str, list[Array]] = field(default_factory=dict)
    whole: bool = False
    lengths: list[int] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values()), ()))

    def order(self) -> npt.NDArray[np.intp]:
        """A fixed shuffle: whatever part of it is looked at is a random sample of the whole."""
        return np.random.default_rng(_SEED).permutation(self.samples)


def find(folders: Sequence[str]) -> Path | None:
    """The first folder that there is."""
    return next((path for path in map(Path, folders) if path.is_dir()), None)


def load(folder: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> GoldenSet:
    """Read a golden set for a model with these inputs and outputs.

    Raises:
        ModelRejected: `golden_invalid`: it cannot be read, or is not for this model.
    """
    try:
        archives = sorted(folder.glob("*.npz"))
        folders = sorted(path for path in folder.glob("test_data_set_*") if path.is_dir())
        if archives:
            made = _read_archives(folder, archives, inputs, outputs)
        elif folders:
            made = _read_folders(folder, folders, inputs, outputs)
        else:
            raise _invalid("it holds neither *.npz nor test_data_set_*")
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise _invalid(f"it cannot be read: {error}") from error
    return made


# -- *.npz -------------------------------------------------------------------------------------------------


def _read_archives(
    folder: Path, files: list[Path], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> GoldenSet:
    parts = archives(files)
    made = GoldenSet(folder, digest_of(files))
    names = set(parts[0])
    if any(set(part) != names for part in parts):
        raise _invalid("its files do not hold the same arrays")
    wanted = {spec.name for spec in inputs}
    if wanted - names:
        raise _invalid(f"there is no array for input {min(wanted - names)!r}")
    known = wanted | {spec.name for spec in outputs} | {LABELS}
    if names - known:
        raise _invalid(f"{min(names - known)!r} is neither an input nor an output of the model, nor {LABELS!r}")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    counts = {len(array) for array in joined.values()}
    if len(counts) != 1:
        raise _invalid("its arrays differ in their number of samples")
    if counts == {0}:
        raise _invalid("it holds no sample")
    for spec in inputs:
        made.inputs[spec.name] = _items(typed(joined[spec.name], spec))
    if LABELS in joined and LABELS not in wanted:
        made.labels = list(joined[LABELS].reshape(len(joined[LABELS]), -1)[:, 0])
    for spec in outputs:
        if spec.name in joined and spec.name not in wanted:
            made.outputs[spec.name] = _items(typed(joined[spec.name], spec))
    if made.labels is None and not made.outputs:
        raise _invalid(f"it holds neither {LABELS!r} nor an output")
    return made


def archives(files: Sequence[Path]) -> list[dict[str, Array]]:
    """The arrays of each archive by name. Raises ModelRejected, or what `numpy.load` does."""
    _bound(files)
    unpacked = 0
    for file in files:
        with zipfile.ZipFile(file) as archive:
            unpacked += sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MOST_BYTES:
        raise _invalid(f"it unpacks to over {_MOST_BYTES >> 30} GiB")
    return [_arrays(file) for file in files]


def _arrays(file: Path) -> dict[str, Array]:
    with np.load(file, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    if any(not array.ndim for array in found.values()):
        raise _invalid(f"{file.name}: an array without a first axis has no samples")
    return found


# -- test_data_set_* ---------------------------------------------------------------------------------------


def _read_folders(
    folder: Path, sets: list[Path], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> GoldenSet:
    files = [file for one in sets for file in sorted(one.glob("*.pb"))]
    _bound(files)
    made = GoldenSet(folder, digest_of(files), whole=True)
    made.inputs = {spec.name: [] for spec in inputs}
    made.outputs = {spec.name: [] for spec in outputs}
    for one in sets:
        for kind, specs, into in (("input", inputs, made.inputs), ("output", outputs, made.outputs)):
            found = _tensors(one, kind, specs)
            if set(found) != set(into):
                raise _invalid(f"{one.name} lacks {kind} {min(set(into) - set(found), default='?')!r}")
            for name, array in found.items():
                into[name].append(array)
    return made


def _tensors(folder: Path, kind: str, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The tensors of one kind, by their own name where the model knows it, else by their number."""
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, numpy_helper

    by_name = {spec.name: spec for spec in specs}
    found = {}
    for at, spec in enumerate(specs):
        tensor = TensorProto()
        try:
            tensor.ParseFromString((folder / f"{kind}_{at}.pb").read_bytes())
            array = numpy_helper.to_array(tensor)
        except (DecodeError, TypeError) as error:
            raise _invalid(f"{folder.name}/{kind}_{at}.pb is no tensor") from error
        meant = by_name.get(tensor.name, spec)
        found[meant.name] = typed(array, meant)
    return found


# -- of both -----------------------------------------------------------------------------------------------


def _items(array: Array) -> list[Array]:
    """One array a sample, of texts too."""
    return [array[at, ...] for at in range(len(array))]


def typed(array: Array, spec: TensorSpec) -> Array:
    """The array in the type that the model takes; numbers may become others of the same kind only."""
    if spec.datatype is Datatype.BYTES:
        text = [v.decode() if isinstance(v, bytes) else str(v) for v in array.reshape(-1).tolist()]
        made = np.empty(len(text), object)
        made[:] = text
        return made.reshape(array.shape)
    if spec.datatype is Datatype.BF16 and array.dtype.itemsize == 2:  # its raw bits
        return array.view(np.uint16)
    if not np.can_cast(array.dtype, spec.datatype.numpy, "same_kind"):
        raise _invalid(f"{spec.name!r} is {spec.datatype.name} and the array is {array.dtype}")
    return np.ascontiguousarray(array, spec.datatype.numpy)


def _bound(files: Sequence[Path]) -> None:
    if len(files) > _MOST_FILES or sum(file.stat().st_size for file in files) > _MOST_BYTES:
        raise _invalid(f"it has over {_MOST_FILES} files, or over {_MOST_BYTES >> 30} GiB")


def digest_of(files: Sequence[Path]) -> str:
    """Of all files of a set."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _invalid(what: str) -> ModelRejected:
    return ModelRejected(f"the golden set cannot be used: {what}"[:500], reason="golden_invalid")


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that go into one run.

    Attributes:
        samples: their numbers.
        inputs: by name.
        split: rows of the outputs belong to the samples; else all of an output belongs to the one sample.
    """

    samples: list[int]
    inputs: dict[str, Array]
    split: bool

    def only(self, chosen: Array) -> Batch:
        """Some of its samples, by a truth value each; of a batch that is split."""
        samples = [sample for sample, wanted in zip(self.samples, chosen, strict=True) if wanted]
        return Batch(samples, {name: array[chosen] for name, array in self.inputs.items()}, self.split)

    def singles(self) -> list[Batch]:
        """Its samples one by one; of a batch that is split."""
        return [self.only(np.arange(len(self.samples)) == at) for at in range(len(self.samples))]


def batches(golden: GoldenSet, specs: Sequence[TensorSpec], size: int) -> Iterator[Batch]:
    """The whole set in its order, at most `size` samples a run, 1 where rows may not share one; or a sequence each."""
    order = golden.order().tolist()
    columns = {spec.name: golden.inputs[spec.name] for spec in specs}
    if golden.lengths:
        yield from _sequences(golden, columns)
        return
    alone = golden.whole or any(spec.fits(columns[spec.name][0].shape) for spec in specs)
    if alone:
        for sample in order:
            yield Batch([sample], {name: column[sample] for name, column in columns.items()}, split=False)
        return
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        rows = {name: np.stack([column[sample] for sample in chosen]) for name, column in columns.items()}
        yield Batch(chosen, rows, split=True)


def _sequences(golden: GoldenSet, columns: dict[str, list[Array]]) -> Iterator[Batch]:
    ends = np.cumsum(golden.lengths)
    for at in np.random.default_rng(_SEED).permutation(len(ends)):
        steps = range(int(ends[at]) - golden.lengths[at], int(ends[at]))
        yield Batch([*steps], {name: np.stack([column[n] for n in steps]) for name, column in columns.items()}, True)


def recorded(golden: GoldenSet, name: str, samples: Sequence[int], given: Array) -> Array:
    """What was recorded for these samples, laid out as the output that was given and is `alike` in shape."""
    return np.stack([golden.outputs[name][sample] for sample in samples]).reshape(given.shape)


def alike(recorded: Sequence[int], given: Sequence[int]) -> bool:
    """Whether two shapes are the same but for dimensions of one."""
    return [size for size in recorded if size != 1] == [size for size in given if size != 1]
