"""A model file in another precision: the same inputs and outputs, other numbers inside."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.lifecycle.walk import walk
from changeover.runtime import levels, quantizing
from changeover.runtime.quantizing import PER_CHANNEL_OPSET
from changeover.runtime.session import Array, Session, open_level
from changeover.runtime.warmup import head
from changeover.scratch import scratch_folder
from changeover.tensors import Datatype, TensorSpec
from changeover.workbench.described import read

if TYPE_CHECKING:
    from onnx import ModelProto

PRECISIONS: Final = ("fp32", "int8_dynamic", "int8_static", "fp16")
"""`fp32` stands for the model as it is."""
MOST_SAMPLES: Final = 512
"""That a calibration looks at; the first ones count."""
_MOST_BYTES: Final = (1 << 31) - (1 << 20)
_LEAST_IR: Final = 8
"""Format in which weights are no inputs, and local functions are known."""


def converted(model: Path, precision: str, target: Path, samples: Sequence[list[Array]]) -> None:
    """Write a model in a precision.

    Names, types and shapes of inputs and outputs stay, and so do the model's own pairs of metadata. Weights that lie
    beside the model come into the file.

    Args:
        model: file that was verified.
        precision: of `PRECISIONS`.
        target: file that is written, or replaced.
        samples: of `int8_static`: for each run the arrays of all inputs, in the order in which the model declares
            them.

    Raises:
        ModelRejected: `precision_unsupported`: it cannot be made of this model, or there is no such precision;
            `no_calibration`: there are no samples, or they are of another model. As `described.read` else.
    """
    if precision not in PRECISIONS:
        raise _unsupported(f"There is no precision {precision!r}; there are {', '.join(PRECISIONS)}.")
    whole = read(model)
    if precision == "fp32":
        _copy(model, whole, target)
        return
    if _bytes(whole) > _MOST_BYTES:
        raise _unsupported(f"{model} is over 2 GiB with its weights: it can be converted only where it is exported.")
    with scratch_folder("precision") as folder:
        made = _made(_plain(whole), precision, folder, samples)
        _replace(target, made.SerializeToString(deterministic=True))


def _copy(model: Path, whole: ModelProto, target: Path) -> None:
    """The very same bytes where they are one file."""
    import onnx

    if not any(_outside(model)):
        _replace(target, model.read_bytes())
    elif _bytes(whole) > _MOST_BYTES:
        onnx.save(whole, target, save_as_external_data=True, location=f"{target.name}.data")
    else:
        _replace(target, whole.SerializeToString(deterministic=True))


def _replace(target: Path, data: bytes) -> None:
    """Write a file whole or not at all: it may be the model itself, or lie where a server looks for versions."""
    place = target.resolve()
    if place.exists() and not place.is_file():  # such as /dev/stdout
        place.write_bytes(data)
        return
    _clear(place)
    half, replaced = place.with_name(f".{place.name}.{os.getpid()}.half"), place.exists()
    try:
        half.touch(0o600 if replaced else 0o666)
        half.write_bytes(data)
        if replaced:
            shutil.copymode(place, half)
        half.replace(place)
    finally:
        half.unlink(missing_ok=True)


def _clear(place: Path) -> None:
    """Remove what killed processes had written of this file."""
    start, end = f".{place.name}.", ".half"
    for path in place.parent.glob(f"{glob.escape(start)}*{end}"):
        number = path.name.removeprefix(start).removesuffix(end)
        if number.isdecimal() and not Path("/proc", number).exists():
            with suppress(OSError):  # another user's
                path.unlink()


def _outside(model: Path) -> Iterator[str]:
    import onnx

    for tensor in walk(onnx.load(model, load_external_data=False).graph, onnx.TensorProto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor.name


def _bytes(model: ModelProto) -> int:
    """Of its weights, which are nearly all of it: the size of a message over 2 GiB cannot be asked for."""
    return sum(len(tensor.raw_data) + 8 * len(tensor.float_data) for tensor in model.graph.initializer)


def _plain(whole: ModelProto) -> ModelProto:
    """Without weights among the inputs, and of an operator set that knows scales by channel where it can be had."""
    import onnx

    weights = {tensor.name for tensor in whole.graph.initializer}
    inputs = [value for value in whole.graph.input if value.name not in weights]
    del whole.graph.input[:]
    whole.graph.input.extend(inputs)
    whole.ir_version = max(whole.ir_version, _LEAST_IR)
    if not 0 < _opset(whole) < PER_CHANNEL_OPSET:
        return whole
    try:
        newer = onnx.version_converter.convert_version(whole, PER_CHANNEL_OPSET)
    except RuntimeError:  # an operator without a converter
        return whole
    newer.metadata_props.extend(whole.metadata_props)
    return newer


def _made(model: ModelProto, precision: str, folder: Path, samples: Sequence[list[Array]]) -> ModelProto:
    import onnx

    source, target = folder / "source.onnx", folder / "made.onnx"
    onnx.save(model, source)
    session = open_level(str(source), "basic")
    if precision == "int8_static":
        feeds = _feeds(samples, session.inputs)
        quantizing.static(source, target, feeds, per_channel=_opset(model) >= PER_CHANNEL_OPSET)
        made = onnx.load(target)
    elif precision == "int8_dynamic":
        quantizing.dynamic(source, target)
        made = onnx.load(target)
    else:
        made = quantizing.halved(model)
    if _reduced(made) <= _reduced(model):
        raise _unsupported(f"The model has no operator that can be {precision}.")
    _put_back(made, model)
    onnx.save(made, target)
    _check(session, target, precision, samples)
    return made


def _feeds(samples: Sequence[list[Array]], inputs: Sequence[TensorSpec]) -> list[dict[str, Array]]:
    if not samples:
        raise _no_calibration("int8_static needs samples of requests, and there are none")
    return [_feed(sample, at, inputs) for at, sample in enumerate(samples[:MOST_SAMPLES])]


def _feed(sample: list[Array], at: int, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    if len(sample) != len(inputs):
        raise _no_calibration(f"sample {at} has {len(sample)} arrays, and the model takes {len(inputs)} inputs")
    for spec, array in zip(inputs, sample, strict=True):
        if not spec.fits(array.shape) or (spec.datatype.itemsize and array.dtype != spec.datatype.numpy):
            wanted = f"{spec.datatype.name}{list(spec.shape)}"
            told = f"sample {at} brings {array.dtype}{list(array.shape)} for the input {spec.name!r}"
            raise _no_calibration(f"{told}, which is {wanted}")
    return {spec.name: array for spec, array in zip(inputs, sample, strict=True)}


def _reduced(model: ModelProto) -> int:
    """Nodes and constants of less than FP32, of all that the tools make."""
    from onnx import NodeProto, TensorProto

    nodes = walk(model.graph, NodeProto)
    count = sum("uantize" in node.op_type or node.op_type.endswith("Integer") for node in nodes)
    tensors = walk(model.graph, TensorProto)
    count += sum(tensor.data_type == TensorProto.FLOAT16 for tensor in tensors)
    casts = [node for node in walk(model.graph, NodeProto) if node.op_type == "Cast"]
    count += sum(one.i == TensorProto.FLOAT16 for node in casts for one in node.attribute if one.name == "to")
    return int(count)


def _put_back(made: ModelProto, model: ModelProto) -> None:
    """What the model says of itself, and no more domains of operators than it uses."""
    from onnx import NodeProto

    for mine, theirs in (
        (made.graph.input, model.graph.input),
        (made.graph.output, model.graph.output),
        (made.metadata_props, model.metadata_props),
    ):
        del mine[:]
        mine.extend(theirs)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    made.domain, made.model_version, made.doc_string = model.domain, model.model_version, model.doc_string
    made.graph.name = model.graph.name
    made.ir_version = max(made.ir_version, model.ir_version)
    used = {node.domain for node in walk(made.graph, NodeProto)} | {""}
    used |= {node.domain for function in made.functions for node in walk(function, NodeProto)}
    kept = [entry for entry in made.opset_import if entry.domain in used]
    del made.opset_import[:]
    made.opset_import.extend(kept)


def _check(before: Session, target: Path, precision: str, samples: Sequence[list[Array]]) -> None:
    """It loads, takes and gives what it did, and its answers are numbers."""
    try:
        after = open_level(str(target), "all")
    except ModelRejected as error:
        raise _unsupported(f"As {precision} the model does not load: {error.message}") from None
    if (before.inputs, before.outputs) != (after.inputs, after.outputs):
        raise _unsupported(f"As {precision} the model would have other inputs or outputs.")
    rows, batchable = levels.rows_for(before, 1)
    given = samples[0] if samples else head(rows, 1, batchable)
    try:
        wanted = before.run(given)
    except ModelRunFailed:
        return  # made-up lengths need not be what the model takes
    try:
        answers = after.run(given)
    except ModelRunFailed as error:
        raise _unsupported(f"As {precision} the model does not run: {error.message}") from None
    floats = (Datatype.FP16, Datatype.FP32, Datatype.FP64)
    for spec, mine, theirs in zip(before.outputs, answers, wanted, strict=True):
        if spec.datatype in floats and np.isfinite(theirs).all() and not np.isfinite(mine).all():
            raise _unsupported(f"As {precision} the model's output {spec.name!r} is infinite, or no number.")


def _opset(model: ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _unsupported(sentence: str) -> ModelRejected:
    return ModelRejected(sentence, reason="precision_unsupported")


def _no_calibration(what: str) -> ModelRejected:
    return ModelRejected(f"{what}: give some with --samples.", reason="no_calibration")
