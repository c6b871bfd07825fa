"""Graphics processors, by NVML where there is one: the package `nvidia-ml-py` (the extra `gpu`) and a driver."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device; `busy` is the share of the last sample period in which it ran anything, bytes of memory."""

    index: str
    name: str
    busy: float
    memory_used: int
    memory_total: int


class Gpus:
    """Asks NVML; a machine that has none is asked once."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._asked = False

    def read(self) -> list[Gpu]:
        """All devices; none where they cannot be read."""
        if not self._asked:
            self._asked = True
            self._nvml = _nvml()
        if self._nvml is None:
            return []
        try:
            return [self._device(index) for index in range(self._nvml.nvmlDeviceGetCount())]
        except self._nvml.NVMLError as error:
            log.debug("NVML: %s", error)
            return []

    def _device(self, index: int) -> Gpu:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory, name = nvml.nvmlDeviceGetMemoryInfo(handle), nvml.nvmlDeviceGetName(handle)
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        name = name.decode() if isinstance(name, bytes) else name
        return Gpu(str(index), name, busy, memory.used, memory.total)


def _nvml() -> Any:
    """The module, ready to be asked; None without it, or without a driver."""
    try:
        module = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        log.info("no graphics processor: %s", error)
        return None
    return module
