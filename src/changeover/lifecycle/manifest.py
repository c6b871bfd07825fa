"""The manifest of an artifact: names, sizes and hashes of its files, and the digest over them. Pure.

The digest is the SHA-256 of the manifest's bytes, and the manifest is written in one way only (files by name, no
spaces), so equal contents have equal digests wherever they were sealed.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from changeover.errors import ModelRejected

_FORMAT: Final = 1
_MAX_NAME: Final = 512
_MAX_PART: Final = 200
_MAX_PARTS: Final = 8


class SealedFile(msgspec.Struct, frozen=True):
    """One file of an artifact.

    Attributes:
        name: relative, `/` between parts.
        size: bytes.
        sha256: of its contents, hexadecimal.
    """

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """All files of an artifact, sorted by name."""

    files: tuple[SealedFile, ...]
    format: int = _FORMAT

    def to_json(self) -> bytes:
        """The one way to write it."""
        return msgspec.json.encode(self)

    @property
    def digest(self) -> str:
        """Digest of the artifact: 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def manifest_of(files: list[SealedFile]) -> Manifest:
    """The manifest of these files, in any order."""
    return Manifest(tuple(sorted(files, key=lambda file: file.name.encode())))


def read_manifest(text: bytes) -> Manifest:
    """The manifest that `Manifest.to_json` wrote.

    Raises:
        ModelRejected: `artifact_damaged`.
    """
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ModelRejected(f"The artifact's manifest is damaged: {error}.", reason="artifact_damaged") from error
    if manifest.to_json() != text or manifest.format != _FORMAT:
        raise ModelRejected("The artifact's manifest is damaged or of another format.", reason="artifact_damaged")
    return manifest


def checked_name(name: str) -> str:
    """The name, when it is safe as a relative path inside an artifact.

    Raises:
        ModelRejected: `artifact_name`: absolute, `..`, hidden, too long, too deep, or unprintable.
    """
    parts = name.split("/")
    if (
        len(parts) > _MAX_PARTS
        or len(name.encode(errors="replace")) > _MAX_NAME
        or not name.isprintable()
        or "\\" in name
        or any(not part or part.startswith(".") or len(part.encode(errors="replace")) > _MAX_PART for part in parts)
    ):
        raise ModelRejected(
            f"{name!r} is no name for a file of a version: use relative names of at most {_MAX_PARTS} parts, none of "
            "them hidden or '..'.",
            reason="artifact_name",
        )
    return name
