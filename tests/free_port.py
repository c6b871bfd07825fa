"""A port for a test that has to name it before anybody listens there."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def free_port() -> int:
    """One that nobody has, below those that the kernel gives away by itself: it stays free until somebody names it."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(max(1024, lowest - 12_000), lowest) if lowest > 2000 else range(61_000, 65_000)
    for port in random.sample(ports, 100):
        with socket.socket() as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port was found")
