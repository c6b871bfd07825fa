"""Servers and data for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from changeover.testing import Server
from tests import onnx_models

Serve = Callable[..., Server]
_DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server with these settings; it is stopped at the end, and nothing may outlive it."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Server(tmp_path, **settings))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only ask; it serves `double` (`y = 2 x`)."""
    with Server(tmp_path_factory.mktemp("shared")) as server:
        server.deploy("double", onnx_models.scale(2).SerializeToString())
        yield server


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The shared data of tests and benches."""
    folder = Path(os.environ.get("CHANGEOVER_TEST_DATA", _DATA))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; name its folder in CHANGEOVER_TEST_DATA")
    return folder
