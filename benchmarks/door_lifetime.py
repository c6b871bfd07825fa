"""An echo server's life as a gateway's: serve until SIGTERM, then leave as a lame duck, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from changeover.gateway.door.listener import Listener


def serve(server: Listener, shared: bool) -> None:
    """Run it; with `shared` another process takes connections from its socket."""

    async def live() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        server.start()
        await stopped.wait()
        await server.stop(10.0, last=not shared)

    uvloop.run(live())
