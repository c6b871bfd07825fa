"""What a push sends: one ONNX file as it is, more than one as a tar stream."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from changeover.client.ask import InvalidClient

ONNX = "application/octet-stream"
TAR = "application/x-tar"
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")


def packed(source: Path | bytes, plan: bytes | None, room: IO[bytes]) -> tuple[IO[bytes], str]:
    """Return the body of a push and its content type; a tar stream is written into `room`.

    Args:
        source: an ONNX file or its bytes, a version's folder, or a tar stream of one.
        plan: text of a `model.yaml` that goes with it.
        room: an empty file.

    Raises:
        InvalidClient: a plan beside a ready-made tar stream; a folder without a model.
    """
    if isinstance(source, Path) and source.name.endswith(_TAR_ENDINGS) and source.is_file():
        if plan is not None:
            raise InvalidClient("a plan cannot be added to a tar stream: put it in there as model.yaml")
        return source.open("rb"), TAR
    if plan is None and not (isinstance(source, Path) and source.is_dir()):
        return (io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")), ONNX
    with tarfile.open(fileobj=room, mode="w", format=tarfile.PAX_FORMAT) as tar:
        if isinstance(source, bytes):
            _add(tar, "model.onnx", source)
        else:
            for path, member in _members(source):
                tar.add(path, arcname=member, recursive=False)
        if plan is not None:
            _add(tar, "model.yaml", plan)
    room.seek(0)
    return room, TAR


def plan_text(plan: Mapping[str, object] | None) -> bytes | None:
    """The text of a `model.yaml` with these fields: JSON is YAML too."""
    return None if plan is None else json.dumps(plan).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _members(source: Path) -> list[tuple[Path, str]]:
    """Return files and their names in the tar stream; links are followed, so that only plain files arrive."""
    if source.is_file():
        return [(source.resolve(), "model.onnx")]
    if not (source / "model.onnx").is_file():
        raise InvalidClient(f"{source} holds no model.onnx; name an .onnx file or a version's folder")
    return [(path.resolve(), str(path.relative_to(source))) for path in sorted(source.rglob("*")) if path.is_file()]
