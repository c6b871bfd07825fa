"""Is the split exact, free of aliasing, and does a key stay? Two gateways, both versions warm, 10,000 requests each.

    python benchmarks/split.py [REQUESTS]

A client that sends every k-th request of a stream is looked at for each k from 2 to 64: all its phases must get the
candidate's share, within what chance gives. Keys are followed over a whole ramp, on changing connections.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from pathlib import Path

import numpy as np

from changeover.demo import digits
from rig import Server, emit, json_body, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.split import Tables

MODEL = "digits"
WEIGHTS = (100, 500, 2500, 5000)
RAMP = (100, 500, 2500, 5000, 10_000)
CONNECTIONS = 32
KEYS = 1000
WARM = "rollout: {strategy: instant, undo_window: 1h, limits: {disagreement: 100%}}\n"
_WITHIN = 60.0


class Client:
    """Keep-alive connections; each request says which version answered it."""

    def __init__(self, port: int) -> None:
        body, headers = json_body(digits.INPUT, digits.load_samples().inputs()[:1].astype(np.float32))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nhost: b\r\n{lines}content-length: {len(body)}\r\n"
        self._port = port
        self._start, self._body = start.encode(), body

    async def stream(self, count: int) -> list[bool]:
        """One connection, one request after the other: whether the candidate answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            return [await self._ask(reader, writer, None) for _ in range(count)]
        finally:
            writer.close()

    async def share(self, count: int) -> float:
        """All connections at once."""
        found = await asyncio.gather(*[self.stream(count // CONNECTIONS) for _ in range(CONNECTIONS)])
        answers = [one for part in found for one in part]
        return sum(answers) / len(answers)

    async def keys(self, names: list[bytes]) -> set[bytes]:
        """Those whose requests the candidate answered; each asks twice, on connections of their own."""

        async def some(part: list[bytes]) -> list[tuple[bytes, bool]]:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                return [(key, await self._ask(reader, writer, key)) for key in part]
            finally:
                writer.close()

        parts = [names[n::CONNECTIONS] for n in range(CONNECTIONS)]
        found = [one for _ in range(2) for part in await asyncio.gather(*map(some, parts)) for one in part]
        there = {key for key, yes in found if yes}
        assert not there & {key for key, yes in found if not yes}, "two gateways say different things of a key"
        return there

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes | None) -> bool:
        line = b"" if key is None else b"changeover-key: " + key + b"\r\n"
        writer.write(self._start + line + b"\r\n" + self._body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _WITHIN)
        assert head.startswith(b"HTTP/1.1 200"), head
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        version: str = json.loads(await reader.readexactly(size))["model_version"]
        return version == "2"


async def exactness(client: Client, tables: Tables, requests: int) -> None:
    """The share of all requests, over both gateways."""
    for weight in WEIGHTS:
        tables.split(MODEL, "1", "2", weight)
        count = requests // CONNECTIONS * CONNECTIONS
        share = await client.share(count)
        off = share * 100 - weight / 100
        emit("split", met=abs(off) <= 0.1, weight_percent=weight / 100, requests=count, off_points=round(off, 4),
             reach="within 0.1 points")  # fmt: skip


async def aliasing(client: Client, tables: Tables, requests: int) -> None:
    """Each phase of each period; 2,079 of them, so the largest of them is far out by chance too."""
    tables.split(MODEL, "1", "2", 2500)
    answers = np.array(await client.stream(requests))
    worst = (0.0, 0, 0)
    for period in range(2, 65):
        for phase in range(period):
            part = answers[phase::period]
            off = abs(part.mean() - 0.25) / math.sqrt(0.25 * 0.75 / len(part))
            worst = max(worst, (float(off), period, phase))
    emit("aliasing", met=worst[0] < 5, periods="2 to 64", requests=requests, worst_deviations=round(worst[0], 2),
         at_period=worst[1], reach="< 5 standard deviations of chance")  # fmt: skip


async def ramp(client: Client, tables: Tables, keys: int) -> None:
    """Whoever has reached the candidate stays there."""
    names = [b"client-%d" % number for number in range(keys)]
    before: set[bytes] = set()
    back, shares = 0, []
    for weight in RAMP:
        tables.split(MODEL, "1", "2", weight)
        there = await client.keys(names)
        back += len(before - there)
        shares.append(round(len(there) / keys * 100, 2))
        before = there
    emit("keyed_ramp", met=back == 0, keys=keys, flips_back=back, shares_percent=shares, reach="0 back")


def _warm_up(server: Server) -> None:
    """Both versions have a worker when this returns."""
    rollout = server.push(MODEL, 2, digits.model_bytes("2"), WARM)
    until = time.monotonic() + _WITHIN
    while server.get(f"/v1/rollouts/{rollout}")["phase"] != "watching":
        assert time.monotonic() < until, "the second version does not serve"
        time.sleep(0.05)


async def main(requests: int) -> None:
    """All three."""
    with Server({MODEL: digits.model_bytes("1")}, {MODEL: WARM}, ["--gateways", "2"]) as server:
        _warm_up(server)
        tables, client = Tables(server.process.pid), Client(server.port)
        say("split: exactness")
        await exactness(client, tables, requests)
        say("split: aliasing")
        await aliasing(client, tables, requests)
        say("split: keys over a ramp")
        await ramp(client, tables, max(KEYS * requests // 10_000, 100))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
    sys.exit(verdict())
