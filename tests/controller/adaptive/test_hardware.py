"""What this machine is."""

from __future__ import annotations

import os
from importlib import metadata

import pytest

from changeover.controller.adaptive import hardware as module
from changeover.controller.adaptive.hardware import hardware


def test_this_machine() -> None:
    """The same at two looks, with this installation's ONNX Runtime, which is not loaded for it."""
    found = hardware()
    assert found == hardware()
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.onnxruntime == metadata.version("onnxruntime")
    assert found.memory > 1 << 20


def test_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that is installed counts; none is no error."""
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-package", "numpy"))
    assert hardware().onnxruntime == metadata.version("numpy")
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-package",))
    assert hardware().onnxruntime == ""
