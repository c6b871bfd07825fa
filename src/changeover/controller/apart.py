"""Adaptations, apart from all other work in threads: each may take minutes, and the journal must not wait for them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from changeover.interface.steps import Step
from changeover.lifecycle.adaptation import adapted, is_adapted
from changeover.lifecycle.artifacts import Artifact

_AT_ONCE: Final = 2
"""A slow one does not hold up all others; more would only share the processor."""
_THREADS: Final = ThreadPoolExecutor(_AT_ONCE, "adapting")


async def adapted_apart(artifact: Artifact, steps: tuple[Step, ...], store: Path) -> Artifact:
    """The version with these steps, as `adapted` makes it and raises; one that is so already waits for nobody."""
    if await asyncio.to_thread(is_adapted, artifact, steps):
        return artifact
    return await asyncio.get_running_loop().run_in_executor(_THREADS, adapted, artifact, steps, store)
