"""What this machine is, as a tuning depends on it."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata

from changeover.controller.adaptive.conditions import Hardware
from changeover.runtime import machine
from changeover.runtime.cache import cpu_features

_DIGITS = 16
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")


def hardware() -> Hardware:
    """As it is now: cores and memory of a container may change while it runs."""
    cpu = hashlib.sha256(cpu_features().encode()).hexdigest()[:_DIGITS]
    return Hardware(len(os.sched_getaffinity(0)), cpu, _onnxruntime(), machine.memory().total)


def _onnxruntime() -> str:
    """The version that workers have, without loading it here."""
    for package in _PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""
