"""The members of a pushed tar stream, one after the other, with everything refused that is not a plain file.

Nothing is ever extracted by name: the caller gets a checked name and the bytes. Compressed streams (gzip, bzip2, xz)
are recognised; limits count the bytes after decompression.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from changeover.errors import ModelRejected
from changeover.lifecycle.manifest import checked_name
from changeover.lifecycle.source import MODEL_FILE, PLAN_FILE

_ALLOWED: Final = re.compile(
    rf"{re.escape(MODEL_FILE)}|{re.escape(PLAN_FILE)}|labels(\.(txt|json|csv))?|golden/.+|config\.pbtxt|[^/]+\.txt"
    r"|[^/]+\.(data|onnx_data|bin|weights?)"
)
_EXTENSIONS: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_MAX_EXTENSION: Final = 64 * 1024
_MAX_MEMBERS: Final = 20_000


class _BoundedInfo(tarfile.TarInfo):
    """A header whose extensions are small: tarfile reads them into memory whole, whatever size they claim."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENSIONS and not 0 <= info.size <= _MAX_EXTENSION:
            raise ModelRejected(
                f"The tar stream has an extension header of {info.size} bytes.", reason="tar_unreadable"
            )
        return info


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a stream; to be read before the next one is asked for.

    Attributes:
        name: checked.
        size: bytes, as its header says.
    """

    name: str
    size: int
    _content: IO[bytes]

    def read(self, size: int = -1) -> bytes:
        """The next bytes of its contents, at most `size`; none at the end.

        Raises:
            ModelRejected: `tar_unreadable`: the stream is cut off or its compression is damaged.
        """
        with _in_our_words():
            return self._content.read(size)


def belongs(name: str) -> bool:
    """Whether a pushed version may have a file of this name."""
    return _ALLOWED.fullmatch(name) is not None


def pack(folder: Path, file: IO[bytes]) -> None:
    """Write a version's folder, of plain files, as a tar stream that may be pushed: without what does not belong to it.

    Args:
        folder: of the version; it may have anything else in it, as those of a repository may.
        file: an empty one, which stands at its begin afterwards.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and belongs(name):
                tar.add(path, name)
    file.seek(0)


def members(source: IO[bytes]) -> Iterator[Member]:
    """Yield the plain files of a tar stream, checked, in its order. Folders are passed over.

    Raises:
        ModelRejected: `tar_unreadable` (no tar stream, or cut off), `tar_member_refused` (a link, a device, a sparse
            file, a name that no version has, or the same name twice), `artifact_name`, `artifact_too_many_files`.
    """
    seen: set[str] = set()
    for info, content in _entries(source):
        name = _checked(info)
        if name in seen:
            raise _refused(name, "it comes twice")
        seen.add(name)
        yield Member(name, info.size, content)


def _entries(source: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    with _in_our_words():
        tar = tarfile.open(fileobj=source, mode="r|*", tarinfo=_BoundedInfo)  # noqa: SIM115 - closed below
    with tar:
        for _ in range(_MAX_MEMBERS):
            with _in_our_words():
                info = tar.next()
            if info is None:
                return
            if not info.isdir():
                yield info, (tar.extractfile(info) if info.isreg() else None) or io.BytesIO()
    raise ModelRejected(f"The tar stream has over {_MAX_MEMBERS} members.", reason="artifact_too_many_files")


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise ModelRejected(f"The tar stream cannot be read: {error}.", reason="tar_unreadable") from error


def _checked(info: tarfile.TarInfo) -> str:
    name = info.name.removeprefix("./")
    if not info.isreg() or info.issparse():
        raise _refused(name, "only plain files are taken, no links, devices or sparse files")
    checked_name(name)
    if not belongs(name):
        raise _refused(
            name,
            f"a version has, with no folder around them, {MODEL_FILE}, {PLAN_FILE}, config.pbtxt, labels (.txt), "
            "golden/… and external data (.data, .onnx_data, .bin, .weights)",
        )
    return name


def _refused(name: str, why: str) -> ModelRejected:
    return ModelRejected(f"The tar stream's member {name!r} is refused: {why}.", reason="tar_member_refused")
