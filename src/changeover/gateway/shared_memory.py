"""Triton's system shared memory extension: inputs and outputs in memory that a client on this machine has made.

Regions are files of `/dev/shm`, which are read and written (`pread`, `pwrite`), never mapped: a client that cuts its
file short gets an error, and kills nobody. What is registered stands on the board, so every gateway knows it; each
opens the file for itself, and only the very file that was registered.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from changeover.errors import CallerError, Conflict, InvalidRequest, NotFound, Overloaded, TooLarge
from changeover.gateway.common import Common, Known, Region
from changeover.protocol.oip import InferRequest, Place
from changeover.protocol.oip_members import check_content
from changeover.tensors import Datatype, Raw

_FOLDER: Final = "/dev/shm"  # noqa: S108 - where POSIX shared memory is
_KEY: Final = re.compile(r"/?(?!changeover)[^/\0.][^/\0]{0,253}")
"""One name, not hidden, and nothing of this server's."""
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_REGIONS: Final = 1024
"""Each holds a descriptor in every gateway."""
_MOST_NAME: Final = 256
_WALKED: Final = (Datatype.BOOL, Datatype.BYTES)


class Regions:
    """The regions that are registered.

    Args:
        common: what all gateways know.
        most: bytes of the inputs of one request.
        enabled: the setting `shared_memory`.
    """

    def __init__(self, common: Common, most: int, *, enabled: bool) -> None:
        self._common = common
        self._most = most
        self.enabled = enabled
        self._open: dict[str, tuple[Region, int]] = {}
        self._followed: Mapping[str, Region] = {}

    # -- what clients ask for ------------------------------------------------------------------------------

    def status(self, name: str) -> list[dict[str, Any]]:
        """One region, or all of them.

        Raises:
            NotFound: there is no such region.
            InvalidRequest: it is not enabled.
        """
        self._require_enabled()
        regions = self._common.known.regions
        if name:
            regions = {name: self._known(name)}
        return [
            {"name": name, "key": r.key, "offset": r.offset, "byte_size": r.byte_size} for name, r in regions.items()
        ]

    def register(self, name: str, body: Mapping[str, object]) -> None:
        """Register a region.

        Raises:
            InvalidRequest: it is not enabled, the body is wrong, or the key is no shared memory as large as that.
            Conflict: the name is taken, or there are too many.
        """
        self._require_enabled()
        key, offset, size = _member(body, "key", ""), _member(body, "offset", 0), _member(body, "byte_size", None)
        if not name or len(name) > _MOST_NAME:
            raise InvalidRequest(f"a region has a name of 1 to {_MOST_NAME} characters", reason="shared_memory_name")
        descriptor = _opened(key)
        found = os.fstat(descriptor)
        try:
            _require_room(name, found.st_size, offset, size)
            region = Region(key, offset, size, found.st_dev, found.st_ino)
            self._common.change(lambda known: _with(known, name, region))
        except BaseException:
            os.close(descriptor)
            raise
        self._forget(name)
        self._open[name] = region, descriptor

    def unregister(self, name: str) -> None:
        """Forget a region, or all; one that is not there is forgotten already.

        Raises:
            InvalidRequest: it is not enabled.
        """
        self._require_enabled()
        self._common.change(lambda known: _without(known, name))
        self.follow()

    def follow(self) -> None:
        """Open what was registered elsewhere, and close what is registered no longer."""
        regions = self._common.known.regions
        if regions is self._followed:
            return
        self._followed = regions
        for name in [n for n, (region, _) in self._open.items() if regions.get(n) != region]:
            self._forget(name)
        for name in regions:
            if name not in self._open:
                try:
                    self._file(name)
                except CallerError:
                    continue  # the client has removed it, or unregistered it just now: told to who uses it

    # -- what requests use ---------------------------------------------------------------------------------

    def needed(self, asked: InferRequest) -> int:
        """Bytes that a request's inputs take; all places it names are inside their regions.

        Raises:
            InvalidRequest, NotFound: they are not (`shared_memory_bounds`, `shared_memory_unknown`).
            TooLarge: more than one request may have.
        """
        for _, place in asked.places:
            self._within(place)
        need = sum(place.size for _, place in asked.places)
        if need > self._most:
            raise TooLarge(f"the inputs in shared memory have {need} bytes, at most {self._most} are taken")
        return need

    def fetch(self, asked: InferRequest) -> None:
        """Copy a request's inputs out of their regions.

        Raises:
            InvalidRequest: a file is shorter than it was; the content is no BYTES or BOOL.
        """
        for index, place in asked.places:
            region, descriptor = self._file(place.region)
            data = os.pread(descriptor, place.size, region.offset + place.offset)
            if len(data) != place.size:
                raise _outside(place.region, "its file is shorter than it was when it was registered")
            tensor = asked.inputs[index]
            tensor.data = data
            if tensor.datatype in _WALKED:
                check_content(tensor.name, tensor.datatype, tensor.shape, data)

    def require(self, place: Place) -> None:
        """Let a place pass that an output can be written to.

        Raises:
            InvalidRequest, NotFound: it is outside its region, which is not there, or not enabled.
        """
        self._within(place)
        self._file(place.region)

    def put(self, place: Place, data: Raw) -> Place:
        """Write an output; returns where it is now.

        Raises:
            InvalidRequest: it does not fit.
            Overloaded: the machine has no memory for it.
        """
        region, descriptor = self._file(place.region)
        start = region.offset + place.offset
        if len(data) > place.size:
            raise _outside(place.region, f"an output of {len(data)} bytes does not fit the {place.size} it was given")
        if os.fstat(descriptor).st_size < start + len(data):
            raise _outside(place.region, "its file is shorter than it was when it was registered")
        try:
            written = os.pwrite(descriptor, data, start)
        except OSError as error:
            raise Overloaded(f"shared memory cannot be written: {error.strerror}", reason="no_memory") from None
        if written != len(data):
            raise Overloaded("shared memory is full", reason="no_memory")
        return Place(place.region, place.offset, written)

    # -- inside --------------------------------------------------------------------------------------------

    def _require_enabled(self) -> None:
        if not self.enabled:
            raise not_enabled()

    def _known(self, name: str) -> Region:
        self._require_enabled()
        region = self._common.known.regions.get(name)
        if region is None:
            raise NotFound(f"no shared memory region {name[:60]!r} is registered", reason="shared_memory_unknown")
        return region

    def _within(self, place: Place) -> None:
        region = self._known(place.region)
        if place.offset + place.size > region.byte_size:
            raise _outside(
                place.region, f"{place.size} bytes from {place.offset} are not inside its {region.byte_size} bytes"
            )

    def _file(self, name: str) -> tuple[Region, int]:
        """A region and its file, opened now if it was registered elsewhere."""
        region = self._known(name)
        held = self._open.get(name)
        if held is not None and held[0] == region:
            return held
        self._forget(name)
        descriptor = _opened(region.key)
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != (region.device, region.inode):
            os.close(descriptor)
            raise InvalidRequest(
                f"shared memory {region.key!r} is not the object that was registered as {name!r}: register it again",
                reason="shared_memory_key",
            )
        self._open[name] = region, descriptor
        return region, descriptor

    def _forget(self, name: str) -> None:
        held = self._open.pop(name, None)
        if held is not None:
            os.close(held[1])


def not_enabled() -> InvalidRequest:
    """The error where there is no shared memory."""
    return InvalidRequest(
        "shared memory is not enabled on this server (setting shared_memory): send the data in the request",
        reason="shared_memory_unsupported",
    )


def _with(known: Known, name: str, region: Region) -> Known:
    if name in known.regions:
        raise Conflict(f"shared memory region {name!r} is registered already", reason="shared_memory_name")
    if len(known.regions) >= _MOST_REGIONS:
        raise Conflict(f"{_MOST_REGIONS} regions are registered, which is the limit", reason="shared_memory_name")
    return msgspec.structs.replace(known, regions={**known.regions, name: region})


def _without(known: Known, name: str) -> Known:
    regions = {n: r for n, r in known.regions.items() if name and n != name}
    return msgspec.structs.replace(known, regions=regions)


def _member(body: Mapping[str, object], name: str, default: Any) -> Any:
    value = body.get(name, default)
    if name == "key":
        fits, wanted = isinstance(value, str), "a text"
    else:
        fits, wanted = type(value) is int and 0 <= value < 1 << 62, "a whole number >= 0"
    if not fits:
        raise InvalidRequest(f"{name}: expected {wanted}", reason="wrong_type")
    return value


def _opened(key: str) -> int:
    """The file of a shared memory object.

    Raises:
        InvalidRequest: `shared_memory_key`.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            f"key {key[:60]!r}: expected the name of a shared memory object such as '/mine', and none of the server's",
            reason="shared_memory_key",
        )
    try:
        descriptor = os.open(f"{_FOLDER}/{key.removeprefix('/')}", _OPEN)
    except OSError as error:
        raise InvalidRequest(f"key {key!r} cannot be opened: {error.strerror}", reason="shared_memory_key") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidRequest(f"key {key!r} is no shared memory object", reason="shared_memory_key")
    return descriptor


def _require_room(name: str, there: int, offset: int, size: int) -> None:
    if not size or offset + size > there:
        raise _outside(name, f"{size} bytes from {offset} are not inside an object of {there} bytes")


def _outside(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"shared memory region {name[:60]!r}: {why}", reason="shared_memory_bounds")
