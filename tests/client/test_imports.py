"""The server's processes import the package, and must not pay for the client."""

from __future__ import annotations

import subprocess
import sys

import pytest

import changeover

LIGHT = """
import sys
import changeover, changeover.client
{more}
print([name for name in ("numpy", "urllib3", "aiohttp", "changeover.client.blocking") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("more", "loaded"),
    [
        ("", "[]"),
        ("import changeover.supervisor.process", "[]"),
        ("changeover.Client", "['numpy', 'urllib3', 'changeover.client.blocking']"),
        ("changeover.AsyncClient", "['numpy', 'aiohttp']"),
    ],
)
def test_the_client_is_loaded_at_first_use(more: str, loaded: str) -> None:
    """Neither by `import changeover` nor by the supervisor."""
    done = subprocess.run([sys.executable, "-c", LIGHT.format(more=more)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == loaded, done.stderr


@pytest.mark.parametrize(("name", "library"), [("Client", "urllib3"), ("AsyncClient", "aiohttp")])
def test_a_missing_library_is_told_by_the_name_of_the_extra(name: str, library: str) -> None:
    """With what to do about it."""
    script = f"import sys; sys.modules[{library!r}] = None; from changeover import {name}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"changeover.{name} needs {library}: pip install 'changeover[client]'" in done.stderr


def test_what_is_not_there_is_not_there() -> None:
    """An attribute that nobody has."""
    with pytest.raises(AttributeError, match="nonsense"):
        _ = changeover.nonsense
    with pytest.raises(AttributeError, match="nonsense"):
        _ = changeover.client.nonsense
