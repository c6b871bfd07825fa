"""A model in another precision, as ONNX Runtime's own tools make it, for the workbench.

This is the only file that knows them. They are imported when they are needed: no process that serves has them. What
they log is for the developers of converters, and kept from whoever called.
"""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from changeover.errors import ModelRejected
from changeover.runtime.session import Array

if TYPE_CHECKING:
    from onnx import ModelProto

Feeds = Mapping[str, Array]
"""Of one run: arrays by name of the input."""
PER_CHANNEL_OPSET: Final = 13
"""Where scales of weights may differ by channel."""
_DETAIL: Final = 300
_WARNING, _FATAL = 2, 4
"""ONNX Runtime's levels of its log; the first is the default."""


def dynamic(source: Path, target: Path) -> None:
    """INT8 weights; what flows between them is quantised by each run anew.

    Raises:
        ModelRejected: it cannot be made of this model (`precision_unsupported`).
    """
    ready = _prepared(source)
    with _told_plainly("int8_dynamic"):
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(ready, target, per_channel=True, reduce_range=_narrow())


def static(source: Path, target: Path, feeds: Sequence[Feeds], *, per_channel: bool) -> None:
    """INT8 weights, and scales for what flows between them that are told by these runs.

    Args:
        source: file of the model, with nothing beside it.
        target: file that is written.
        feeds: whose values are the range that INT8 has to cover.
        per_channel: weights have scales by channel where the tools can do it: they fail for a bias of two dimensions.

    Raises:
        ModelRejected: it cannot be made of this model (`precision_unsupported`).
    """
    try:
        _static(_prepared(source), target, feeds, per_channel)
    except ModelRejected:
        if not per_channel:
            raise
        _static(_prepared(source), target, feeds, False)


def _static(ready: Path, target: Path, feeds: Sequence[Feeds], per_channel: bool) -> None:
    with _told_plainly("int8_static"):
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc] # the base has no types
            def __init__(self) -> None:
                self._left = iter(feeds)

            def get_next(self) -> dict[str, Any] | None:
                following = next(self._left, None)
                return None if following is None else dict(following)

        quantize_static(
            ready,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=_narrow(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def halved(model: ModelProto) -> ModelProto:
    """FP16 inside, with the inputs and outputs that it had.

    Raises:
        ModelRejected: it cannot be made of this model (`precision_unsupported`).
    """
    with _told_plainly("fp16"):
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16

        made = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
        made.topological_sort()  # the casts were put at its end
        result: ModelProto = made.model
        return result


def _prepared(source: Path) -> Path:
    """The model with its constants folded, its normalisations merged into convolutions, and its shapes known."""
    ready = source.with_name(f"ready-{source.name}")
    with _told_plainly("int8"):
        from onnxruntime.quantization import quant_pre_process

        quant_pre_process(source, ready, skip_symbolic_shape=True)  # which would need sympy
    return ready


def _narrow() -> bool:
    """Whether weights get 7 bits only: x86 without VNNI adds pairs of 8-bit products in 16 bits, which overflow."""
    return platform.machine() in ("x86_64", "AMD64") and "vnni" not in Path("/proc/cpuinfo").read_text()


@contextmanager
def _told_plainly(precision: str) -> Iterator[None]:
    """Quiet, and whatever they raise is a refusal."""
    import onnxruntime as ort

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    ort.set_default_logger_severity(_FATAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the model
            raise
        raise _refused(precision, error) from None
    except Exception as error:  # noqa: BLE001 - the tools raise whatever they come across
        raise _refused(precision, error) from None
    finally:
        logging.disable(before)
        ort.set_default_logger_severity(_WARNING)


def _refused(precision: str, error: Exception) -> ModelRejected:
    told = " ".join(str(error).split())[:_DETAIL] or type(error).__name__
    return ModelRejected(f"ONNX Runtime cannot make it {precision}: {told}", reason="precision_unsupported")
