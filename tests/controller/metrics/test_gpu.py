"""Graphics processors: what NVML says, and nothing where there is none."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from changeover.controller.metrics.gpu import Gpu, Gpus


class NVMLError(Exception):
    """As in pynvml."""


def nvml(devices: int, *, driver: bool = True) -> ModuleType:
    """A module like pynvml, with so many devices."""
    module = ModuleType("pynvml")

    def init() -> None:
        if not driver:
            raise NVMLError("Driver Not Loaded")

    vars(module).update(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: devices,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(used=index + 1, total=100),
        nvmlDeviceGetName=lambda index: b"Old" if index else "New",
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=25, memory=3),
    )
    return module


def test_every_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as text or bytes: both have been in the package."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2))
    assert Gpus().read() == [Gpu("0", "New", 0.25, 1, 100), Gpu("1", "Old", 0.25, 2, 100)]


def test_without_the_package_or_a_driver_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is no error."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus().read() == []
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2, driver=False))
    assert Gpus().read() == []


def test_a_device_that_falls_off_the_bus_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape goes on without it."""

    def lost(_: int) -> None:
        raise NVMLError("GPU is lost")

    module = nvml(1)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    gpus = Gpus()
    assert len(gpus.read()) == 1
    monkeypatch.setattr(module, "nvmlDeviceGetHandleByIndex", lost)
    assert gpus.read() == []
