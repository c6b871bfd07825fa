"""What it costs that messages between processes go through the supervisor: one JSON line with the round trips.

`python benchmarks/relay.py [--count N]` sends a frame of the size of `committed` to another process and waits for
the answer, over one private link (`direct`) and over two with a forwarding process between (`relayed`), which does
what the supervisor does with a frame that is not for it: receive, look at the target, send. Microseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import statistics
import sys
import time
from collections.abc import Callable

from changeover.transport.link import CONTROLLER, Frame, Kind, Link, LinkClosed, frame, pair

_WARM = 200


def _next(link: Link) -> Frame:
    while (message := link.receive()) is None:
        select.select([link], [], [])
    return message


def _forked(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except LinkClosed:
            pass
        os._exit(0)
    return pid


def _echo(link: Link) -> None:
    while True:
        link.send(Frame(Kind.ACKNOWLEDGED, _next(link).body, target=CONTROLLER))


def _relay(left: Link, right: Link) -> None:
    other = {left: right, right: left}
    while True:
        readable, _, _ = select.select([left, right], [], [])
        for link in readable:
            while (message := link.receive()) is not None:
                message.source = 1
                other[link].send(message)


def round_trips(link: Link, count: int) -> dict[str, float]:
    """Median and 99th percentile of `count` round trips, after some to warm up."""
    message = frame(Kind.COMMITTED, {"word": 1, "epoch": 12345}, target=7)
    times = []
    for _ in range(_WARM + count):
        start = time.perf_counter_ns()
        link.send(message)
        _next(link)
        times.append((time.perf_counter_ns() - start) / 1e3)
    times = sorted(times[_WARM:])
    return {"p50_us": round(statistics.median(times), 1), "p99_us": round(times[int(count * 0.99)], 1)}


def main() -> int:
    """Measure both ways and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    (near, far), (left, middle), (onward, right) = pair(), pair(), pair()
    children = [
        _forked(lambda: _echo(Link(far))),
        _forked(lambda: _relay(Link(middle), Link(onward))),
        _forked(lambda: _echo(Link(right))),
    ]
    try:
        direct, relayed = round_trips(Link(near), count), round_trips(Link(left), count)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    added = round((relayed["p50_us"] - direct["p50_us"]) / 2, 1)
    print(
        json.dumps({"bench": "relay", "count": count, "direct": direct, "relayed": relayed, "added_one_way_us": added})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
