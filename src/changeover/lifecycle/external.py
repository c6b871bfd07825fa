"""External data of an ONNX file: every tensor that keeps its bytes in another file, wherever it hides.

A location is a path that the runtime opens, so it is attacker's ground: only a plain file inside the sealed folder is
let through, and only ranges inside that file.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from changeover.errors import ModelRejected
from changeover.lifecycle.walk import walk

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_MAX_DIGITS: Final = 18

_BITS: Final = {
    "FLOAT": 32,
    "UINT8": 8,
    "INT8": 8,
    "UINT16": 16,
    "INT16": 16,
    "INT32": 32,
    "INT64": 64,
    "BOOL": 8,
    "FLOAT16": 16,
    "DOUBLE": 64,
    "UINT32": 32,
    "UINT64": 64,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
    "BFLOAT16": 16,
    "FLOAT8E4M3FN": 8,
    "FLOAT8E4M3FNUZ": 8,
    "FLOAT8E5M2": 8,
    "FLOAT8E5M2FNUZ": 8,
    "FLOAT8E8M0": 8,
    "UINT4": 4,
    "INT4": 4,
    "FLOAT4E2M1": 4,
    "UINT2": 2,
    "INT2": 2,
}
"""Bits of one element by the type's name in the ONNX format; text has none, and cannot be external."""


def check_external_data(model: ModelProto, folder: Path) -> int:
    """Check every external tensor of a model; how many there are.

    Args:
        model: loaded without its external data.
        folder: the sealed folder that holds the model file.

    Raises:
        ModelRejected: `external_data_path` (absolute, `..`, not a plain name), `external_data_missing`,
            `external_data_link` (a link of either kind, or no regular file), `external_data_bounds`,
            `external_data_type` (text cannot be external).
    """
    from onnx import TensorProto

    count = 0
    for tensor in walk(model, TensorProto):
        if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
            _check(tensor, folder)
            count += 1
    return count


def _check(tensor: TensorProto, folder: Path) -> None:
    keys = {entry.key: entry.value for entry in tensor.external_data}
    location = keys.get("location", "")
    size = _file_size(tensor.name, location, folder)
    needed = _needed(tensor)
    offset = _number(tensor.name, keys, "offset", 0)
    length = _number(tensor.name, keys, "length", needed)
    if length != needed or offset + length > size:
        raise _refused(
            tensor.name,
            f"it needs {needed} bytes and names {length} from byte {offset} of {location!r}, which has {size}",
            "bounds",
        )


def _file_size(name: str, location: str, folder: Path) -> int:
    """Size of the regular file at the location, every step of the way to it looked at without following links."""
    path = folder
    parts = _parts(name, location)
    for part in parts:
        path = path / part
        try:
            status = os.lstat(path)
        except OSError as error:
            raise _refused(name, f"{location!r} is not in the version's folder", "missing") from error
        wanted = stat.S_ISREG if part is parts[-1] else stat.S_ISDIR
        if not wanted(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink != 1):
            raise _refused(name, f"{location!r} is a link, is reached by one, or is no regular file", "link")
    return status.st_size


def _parts(name: str, location: str) -> list[str]:
    parts = location.removeprefix("./").split("/")
    if not location.isprintable() or "\\" in location or any(part in ("", ".", "..") for part in parts):
        raise _refused(name, f"{location!r} is not a plain path inside the version's folder", "path")
    return parts


def _number(name: str, keys: dict[str, str], key: str, default: int) -> int:
    text = keys.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise _refused(name, f"its {key} {text[:40]!r} is not a number of bytes", "bounds")
    return int(text)


def _needed(tensor: TensorProto) -> int:
    """Bytes of the tensor's contents, from its type and dimensions."""
    known = tensor.data_type in tensor.DataType.values()
    bits = _BITS.get(tensor.DataType.Name(tensor.data_type)) if known else None
    if bits is None:
        raise _refused(tensor.name, "its type cannot be kept in another file", "type")
    if any(size < 0 for size in tensor.dims):
        raise _refused(tensor.name, "it has a negative dimension", "bounds")
    elements: int = math.prod(tensor.dims)
    return (elements * bits + 7) // 8


def _refused(name: str, why: str, kind: str) -> ModelRejected:
    return ModelRejected(f"The external data of tensor {name!r} is refused: {why}.", reason=f"external_data_{kind}")
