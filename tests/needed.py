"""Packages only the tests need: on a machine of CI they have to be there, elsewhere a test without them is skipped."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import pytest


def needed(name: str) -> Any:
    """The module, when it is installed."""
    if importlib.util.find_spec(name) is None and not os.environ.get("CI"):
        pytest.skip(
            f"{name} is not installed; it is in the development group of pyproject.toml", allow_module_level=True
        )
    return importlib.import_module(name)
