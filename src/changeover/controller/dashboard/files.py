"""The dashboard's files: kept in memory, compressed once, sent with a policy that allows nothing but themselves."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from changeover.errors import NotFound

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Value of `content-security-policy`: no inline script, no inline style, nothing from elsewhere."""
TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
"""Media types by ending. A file with another ending is not served."""
_PACKED: Final = frozenset({"woff2"})
"""Endings of files that are compressed already."""


class Asset(NamedTuple):
    """One file.

    Attributes:
        body: its bytes.
        zipped: the same under gzip; None where that saves nothing.
        media: its type.
        tag: for `etag`; changes with the bytes.
    """

    body: bytes
    zipped: bytes | None
    media: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """All files by their path below `/ui/`, such as `vendor/preact.js`."""
    root = files(__package__) / "static"
    found = {entry.name: entry for entry in root.iterdir() if entry.is_file()}
    found |= {f"vendor/{entry.name}": entry for entry in (root / "vendor").iterdir()}
    return {path: _asset(entry) for path, entry in found.items() if _ending(path) in TYPES}


async def page(request: Request) -> Response:
    """`GET /ui`."""
    return _sent(assets()["index.html"], request)


async def file(request: Request) -> Response:
    """`GET /ui/FILE`."""
    return _found(request.path_params["file"], request)


async def vendored(request: Request) -> Response:
    """`GET /ui/vendor/FILE`."""
    return _found(f"vendor/{request.path_params['file']}", request)


def _found(path: str, request: Request) -> Response:
    asset = assets().get(path)
    if asset is None:
        raise NotFound(f"the dashboard has no file {path!r}; it is at /ui", reason="path_not_found")
    return _sent(asset, request)


def _sent(asset: Asset, request: Request) -> Response:
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",  # asked again each time, and answered with 304
        "etag": asset.tag,
        "vary": "accept-encoding",
    }
    if asset.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if asset.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.zipped, headers=headers | {"content-encoding": "gzip"}, media_type=asset.media)
    return Response(asset.body, headers=headers, media_type=asset.media)


def _asset(entry: Traversable) -> Asset:
    body, ending = entry.read_bytes(), _ending(entry.name)
    zipped = None if ending in _PACKED else gzip.compress(body, 9, mtime=0)
    return Asset(body, zipped, TYPES[ending], f'"{hashlib.sha256(body).hexdigest()[:16]}"')


def _ending(path: str) -> str:
    return path.rpartition(".")[2]
