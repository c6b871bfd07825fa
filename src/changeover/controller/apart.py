"""Sealings and adaptations, apart from all other work in threads: each may take minutes.

The journal must not wait for them, nor those who ask what is going on, however many versions come and however large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from changeover.interface.steps import Step
from changeover.lifecycle.adaptation import adapted, is_adapted
from changeover.lifecycle.artifacts import Artifact

_AT_ONCE: Final = 2
"""A slow one does not hold up all others; more would only share the processor."""
_ADAPTING: Final = ThreadPoolExecutor(_AT_ONCE, "adapting")
_SEALING: Final = ThreadPoolExecutor(_AT_ONCE, "sealing")
T = TypeVar("T")


async def sealed_apart(seal: Callable[..., T], *what: object) -> T:
    """What a call returns or raises that copies or hashes a whole version."""
    return await asyncio.get_running_loop().run_in_executor(_SEALING, seal, *what)


async def adapted_apart(artifact: Artifact, steps: tuple[Step, ...], store: Path) -> Artifact:
    """The version with these steps, as `adapted` makes it and raises; one that is so already waits for nobody."""
    if await asyncio.to_thread(is_adapted, artifact, steps):
        return artifact
    return await asyncio.get_running_loop().run_in_executor(_ADAPTING, adapted, artifact, steps, store)
