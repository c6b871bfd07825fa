"""Open-loop client of the door's proof, as a process of its own; one JSON line at the end.

`python benchmarks/door_load.py PORT SECONDS RATE KEPT FRESH`: RATE requests a second in all, sent when they
are due whatever became of the others, by KEPT clients that keep their connection and FRESH ones that open
one per request. A kept connection that shows its end before a request is sent is opened anew, as any pool
does. A refused connection ends a client: nothing was sent. Everything sent must be answered in full.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field

_BODY = b"x" * 600
_TIMEOUT = 8.0


@dataclass
class Figures:
    """What one client counted."""

    sent: int = 0
    answered: int = 0
    lost: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    why: list[str] = field(default_factory=list)


def request(fresh: bool) -> bytes:
    close = b"Connection: close\r\n" if fresh else b""
    return b"POST /echo HTTP/1.1\r\nHost: door\r\n%bContent-Length: %d\r\n\r\n%b" % (close, len(_BODY), _BODY)


def read_answer(sock: socket.socket) -> bool:
    """Read a whole answer; returns whether the connection may be used again."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError(f"ended after {len(got)} bytes")
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(head[:40].decode("latin-1"))
    while len(body) < len(_BODY):
        part = sock.recv(65536)
        if not part:
            raise ConnectionError(f"ended {len(_BODY) - len(body)} bytes early")
        body += part
    if body != _BODY:
        raise ConnectionError("wrong body")
    return b"connection: close" not in head.lower()


def client(port: int, dues: list[float], fresh: bool, figures: Figures) -> None:
    """Send a request at each due time."""
    sock: socket.socket | None = None
    wire = request(fresh)
    for due in dues:
        time.sleep(max(0.0, due - time.monotonic()))
        if sock is not None and select.select([sock], [], [], 0)[0]:
            sock.close()
            sock = None
        if sock is None:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                figures.refused += 1
                return
        figures.sent += 1
        try:
            sock.sendall(wire)
            kept = read_answer(sock)
            figures.answered += 1
        except OSError as error:
            figures.lost += 1
            figures.why.append(str(error))
            kept = False
        figures.slowest_ms = max(figures.slowest_ms, (time.monotonic() - due) * 1000)
        if not kept or fresh:
            sock.close()
            sock = None


def main() -> None:
    port, seconds, rate, kept, fresh = int(sys.argv[1]), *map(float, sys.argv[2:6])
    clients = int(kept + fresh)
    start = time.monotonic() + 0.1
    figures = [Figures() for _ in range(clients)]
    threads = []
    for number in range(clients):
        dues = [start + (number + turn * clients) / rate for turn in range(int(seconds * rate / clients))]
        arguments = (port, dues, number >= kept, figures[number])
        threads.append(threading.Thread(target=client, args=arguments))
        threads[-1].start()
    for thread in threads:
        thread.join()
    total = Figures(slowest_ms=round(max(one.slowest_ms for one in figures), 1))
    for one in figures:
        total.sent += one.sent
        total.answered += one.answered
        total.lost += one.lost
        total.refused += one.refused
        total.why += one.why[:2]
    total.why = sorted(set(total.why))[:4]
    print(json.dumps(asdict(total)))


if __name__ == "__main__":
    main()
