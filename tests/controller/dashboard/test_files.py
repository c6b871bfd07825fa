"""The dashboard's files, without a browser: what they weigh, what they refer to, how they are sent."""

from __future__ import annotations

import asyncio
import gzip
import re
from importlib.resources import files as resources

import pytest
from starlette.requests import Request
from starlette.responses import Response

from changeover.controller.dashboard import files
from changeover.errors import NotFound

MOST_TRANSFERRED = 150_000
STATIC = resources("changeover.controller.dashboard") / "static"
PAGE = files.assets()["index.html"].body.decode()


def request(path: str = "", **headers: str) -> Request:
    """A request for a file."""
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": sent, "path_params": {"file": path}})


def test_the_whole_page_is_small() -> None:
    """All files as they are transferred, with 300 bytes of headers each."""
    transferred = {path: len(asset.zipped or asset.body) + 300 for path, asset in files.assets().items()}
    assert sum(transferred.values()) <= MOST_TRANSFERRED, transferred
    assert sum(len(asset.body) for asset in files.assets().values()) > MOST_TRANSFERRED  # it is the gzip that does it


def test_nothing_is_inline_and_nothing_from_elsewhere() -> None:
    """The policy forbids it, and the page does not try."""
    assert "unsafe" not in files.POLICY
    assert "script-src 'self'" in files.POLICY
    assert re.findall(r"<script(?![^>]* src=)", PAGE) == []
    assert re.findall(r"<style|\son\w+=|\sstyle=", PAGE) == []
    for path, asset in files.assets().items():
        if asset.zipped is not None and not path.startswith("vendor/"):
            addresses = re.findall(r"https?://[^\s\"'`]+", asset.body.decode())
            assert [one for one in addresses if not one.startswith("http://www.w3.org/")] == [], path


def test_every_reference_leads_to_a_file() -> None:
    """Of the page, of the style sheets, and the imports of every module."""
    known = files.assets()
    assert {name.removeprefix("ui/") for name in re.findall(r'(?:href|src)="(ui/[^"]+)"', PAGE)} <= set(known)
    for path, asset in known.items():
        folder = path.rpartition("/")[0]
        if path.endswith(".css"):
            named = re.findall(r'url\("([^"]+)"\)', asset.body.decode())
        elif path.endswith(".js"):
            named = re.findall(r"""\bfrom ?['"]([^'"]+)['"]""", asset.body.decode())
            assert all(name.startswith("./") for name in named), path
        else:
            continue
        assert {"/".join(filter(None, [folder, name.removeprefix("./")])) for name in named} <= set(known), path


def test_every_module_is_used() -> None:
    """What the page cannot reach is not sent along."""
    known, reached, left = files.assets(), {"index.html"}, ["app.js"]
    while left:
        path = left.pop()
        reached.add(path)
        folder = path.rpartition("/")[0]
        found = re.findall(r"""\bfrom ?['"]\./([^'"]+)['"]""", known[path].body.decode())
        left += [name for one in found if (name := "/".join(filter(None, [folder, one]))) not in reached]
    assert {path for path in known if path.endswith(".js")} == {path for path in reached if path.endswith(".js")}


def test_whatever_is_vendored_has_its_licence_and_its_origin() -> None:
    """A row in the folder's README, and the licence beside it."""
    folder = STATIC / "vendor"
    readme = (folder / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| (\S+) ", readme, re.MULTILINE))
    assert set(rows) == {path.removeprefix("vendor/") for path in files.assets() if path.startswith("vendor/")}
    for package in rows.values():
        licence = folder / f"LICENSE.{package.rpartition('/')[2]}"
        assert len(licence.read_text()) > 1000, package


def test_a_file_is_compressed_for_who_takes_it() -> None:
    """The same bytes, with the policy; a font is sent as it is."""
    plain = asyncio.run(files.file(request("app.js")))
    zipped = asyncio.run(files.file(request("app.js", accept_encoding="br, gzip")))
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(zipped.body)) == plain.body
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["content-security-policy"] == files.POLICY
    font = asyncio.run(files.vendored(request("inter.woff2", accept_encoding="gzip")))
    assert (font.headers["content-type"], "content-encoding" in font.headers) == ("font/woff2", False)


def test_a_file_that_is_known_is_not_sent_again() -> None:
    """Whoever shows its tag is told that nothing has changed."""
    first: Response = asyncio.run(files.page(request()))
    again = asyncio.run(files.page(request(if_none_match=first.headers["etag"])))
    assert (first.status_code, again.status_code, again.body) == (200, 304, b"")
    assert asyncio.run(files.page(request(if_none_match='"other"'))).status_code == 200


@pytest.mark.parametrize("path", ["nothing.js", "files.py", "../files.py", "vendor/preact.js.map", ""])
def test_no_other_file_is_sent(path: str) -> None:
    """Names are looked up, never joined to a path."""
    with pytest.raises(NotFound) as caught:
        asyncio.run(files.file(request(path)))
    assert caught.value.reason == "path_not_found"
