"""Large weights of optimised graphs, each in a file named by what it holds, which the sessions of all workers map.

Versions with equal weights name equal files, and of a file that many processes map the kernel keeps one copy. With a
weight lie the forms of it that operators have packed for this processor, so a session that finds them packs nothing of
its own (docs/adr/0023-weights-are-mapped.md).

What is mapped must not change, so workers map from a folder that provers cannot write to, and take over into it what
a prover has left in the cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from changeover.lifecycle.walk import walk

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LEAST: Final = 1 << 16
"""Bytes from which on a weight has a file of its own."""
_NAME: Final = re.compile(r"([0-9a-f]{64})\.weights")
_PACKED: Final = "prepacked_"
_PAGE: Final = resource.getpagesize()
_BLOCK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def part(graph: Path, data: Path) -> None:
    """Give every large weight a file of its own, beside the graph, which is written anew to name them.

    Args:
        graph: as ONNX Runtime wrote it.
        data: all its external data; gone afterwards.

    Raises:
        ValueError, LookupError: it names other files, or is not as ONNX Runtime writes it.
        OSError: a file cannot be written.
    """
    model = _parsed(graph.read_bytes())
    tensors = list(_external(model))
    if tensors:
        with data.open("rb") as file:
            for tensor in tensors:
                if _keys(tensor).get("location") != data.name:
                    raise ValueError(f"{tensor.name} is not in {data.name}")
                _part(tensor, file, graph.parent)
        graph.write_bytes(model.SerializeToString())
    data.unlink(missing_ok=True)


def ready(graph: bytes, cache: Path, folder: Path) -> int | None:
    """Have all weights of a graph in a folder, each as its name says; they are taken over from the cache.

    Args:
        graph: as `part` wrote it.
        cache: folder that others may write to.
        folder: to map from; may be the same.

    Returns:
        Bytes that a session of the graph keeps mapped; None when a weight is not there.
    """
    try:
        found = {keys.get("location", ""): keys for keys in map(_keys, _external(_parsed(graph)))}
        if all(_NAME.fullmatch(name) and _there(name, cache, folder) for name in found):
            return max(sum(map(_kept, found.values())), 0)
    except (OSError, ValueError, LookupError):
        pass
    return None


def _kept(keys: dict[str, str]) -> int:
    """Bytes of a weight that stay mapped: of what is packed the packed form alone."""
    blobs = [blob for name, told in keys.items() if name.startswith(_PACKED) for blob in told.split("|")[1:]]
    return sum(int(blob.split(";")[1]) for blob in blobs) if blobs else int(keys["length"])


def _there(name: str, cache: Path, folder: Path) -> bool:
    path, source = folder / name, cache / name
    if _sound(path):
        os.utime(path)
    elif folder == cache or not _take_over(source, path):
        return False
    if folder != cache:
        source.unlink(missing_ok=True)
    return True


def _take_over(source: Path, path: Path) -> bool:
    """Copy a file; what it holds is hashed on the way, since whoever wrote it may write to it still."""
    try:
        with open(os.open(source, _READ), "rb", buffering=0) as file:
            return _written(path, iter(lambda: file.read(_BLOCK), b""))
    except FileNotFoundError:
        return _sound(path)  # another worker was faster


def _part(tensor: TensorProto, file: BinaryIO, folder: Path) -> None:
    """One weight, then what was packed of it, each from a page's start."""
    keys = _keys(tensor)
    pieces = [_piece(file, keys["offset"], keys["length"])]
    at = len(pieces[0])
    for name, told in sorted(keys.items()):
        if not name.startswith(_PACKED):
            continue
        kernel, *blobs = told.split("|")
        moved = [kernel]
        for blob in blobs:
            offset, length, *rest = blob.split(";")
            pieces += [bytes(-at % _PAGE), _piece(file, offset, length)]
            at += len(pieces[-2])
            moved.append(";".join([str(at), length, *rest]))
            at += len(pieces[-1])
        keys[name] = "|".join(moved)
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    keys |= {"location": f"{digest.hexdigest()}.weights", "offset": "0"}
    path = folder / keys["location"]
    if not _sound(path):
        _written(path, iter(pieces))
    del tensor.external_data[:]
    for key, value in keys.items():
        tensor.external_data.add(key=key, value=value)


def _piece(file: BinaryIO, offset: str, length: str) -> bytes:
    """Read, not mapped: what the prover takes at most is measured, and pages of files would count."""
    file.seek(int(offset))
    found = file.read(int(length))
    if len(found) != int(length):
        raise ValueError("a weight is cut off")
    return found


def _sound(path: Path) -> bool:
    """Whether it is a plain file that holds what its name says."""
    try:
        with open(os.open(path, _READ), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == path.stem
    except OSError:
        return False


def _written(path: Path, blocks: Iterator[bytes]) -> bool:
    """Write a file if it holds what its name says then."""
    temporary, digest = path.with_name(f".{path.name}.{os.getpid()}.tmp"), hashlib.sha256()
    temporary.unlink(missing_ok=True)
    try:
        with open(os.open(temporary, _CREATE, 0o400), "wb", buffering=0) as file:
            for block in blocks:
                digest.update(block)
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
        if digest.hexdigest() != path.stem:
            return False
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _parsed(graph: bytes) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(graph)
    except DecodeError as error:
        raise ValueError("no graph") from error
    return model


def _external(model: ModelProto) -> Iterator[TensorProto]:
    from onnx import TensorProto

    return (tensor for tensor in walk(model, TensorProto) if tensor.data_location == tensor.EXTERNAL)


def _keys(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
