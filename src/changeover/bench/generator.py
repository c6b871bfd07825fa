"""The driver of a load run: one thread, one epoll loop, all connections."""

from __future__ import annotations

import gc
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from changeover.bench.answers import Answers
from changeover.bench.arrivals import Arrivals
from changeover.bench.connection import Broken, Connection, Cut
from changeover.bench.records import Break, Records, Timing
from changeover.bench.report import RunTimes, progress_document, result_document
from changeover.bench.spec import LoadSpec
from changeover.bench.timer import Timer
from changeover.bench.totals import Totals
from changeover.bench.wire import ResponseHead, infer_request

_LONGEST_WAIT = 0.05  # seconds between looks at the stop event and at requests that are too late
_SPIN = 5e-6  # a due time nearer than this is not worth a timer
_PAUSE = 0.02  # between attempts of closed-loop callers whose connection was refused
_IN = select.EPOLLIN
_OUT = select.EPOLLOUT

OnProgress = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Run:
    """A finished run: the one result document and the row of every request, if the spec keeps them."""

    result: dict[str, Any]
    records: Records = field(repr=False)


def run_load(
    spec: LoadSpec,
    stop: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    rates: deque[float] | None = None,
) -> Run:
    """Run the load to its end, or until `stop` is set, wait for what is in flight, and report.

    `on_progress` gets one document a second from the same thread: whatever it takes delays requests. What another
    thread appends to `rates` is the open loop's rate from then on, in requests a second.

    Raises:
        InvalidRequest: an input has a type that cannot be sent.
    """
    generator = Generator(spec, stop or threading.Event(), on_progress, rates)
    collecting = gc.isenabled()
    gc.disable()  # a collection would show up as latency; nothing here makes cycles
    try:
        return generator.run()
    finally:
        generator.close()
        if collecting:
            gc.enable()


class Generator:
    """State of one run. `run` is its whole flow; everything else is a step of it."""

    def __init__(
        self, spec: LoadSpec, stop: threading.Event, on_progress: OnProgress | None, rates: deque[float] | None
    ) -> None:
        self.spec = spec
        self.records = Records()
        self._totals = None if spec.keep_rows else Totals(spec.order)
        self._stop = stop
        self._on_progress = on_progress
        self._rates = rates if rates is not None else deque()
        self._requests = [infer_request(spec, i, close=False) for i in range(spec.samples)]
        self._closing_requests: dict[int, bytes] = {}
        self._answers = Answers(spec, self.records)
        self._connections: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._heads: dict[bytes, ResponseHead] = {}
        self._random = random.Random(spec.seed)  # noqa: S311 - which connections are fresh is no secret
        self._epoll = select.epoll()
        self._timer = Timer()
        self._epoll.register(self._timer.fd, _IN | select.EPOLLET)
        self._busy = 0
        self._paused_until = 0.0

    def run(self) -> Run:
        """Send, receive, record; return when every request has ended."""
        times = RunTimes.begin()
        self._arrivals = Arrivals(self.spec, times.start)
        next_look, next_progress, seen = times.start, times.start + 1, 0
        while self._busy or not self._arrivals.done:
            now = time.monotonic()
            self._send_due(now)
            for fd, _ in self._epoll.poll(self._until_next(now)):
                connection = self._connections.get(fd)
                if connection is not None:
                    self._handle(connection)
            if now >= next_look:
                next_look = now + _LONGEST_WAIT
                self._look(now)
            if now >= next_progress:
                next_progress += 1
                seen = self._report(seen, now - times.start)
        times.end()
        self._fold()
        return Run(result_document(self.spec, self.records, times, self._totals), self.records)

    def close(self) -> None:
        """Close every connection and descriptor."""
        for connection in self._connections.values():
            connection.close()
        self._epoll.close()
        self._timer.close()

    def _send_due(self, now: float) -> None:
        """Send what is due for as long as there is a connection for it."""
        while now >= self._paused_until and self._has_room():
            due = self._arrivals.take(now)
            if due is None:
                return
            if now - due > self.spec.timeout_s:
                self.records.add_failure(Timing(due, now, now, fresh=False), 0, "never sent")
            else:
                self._dispatch(due)

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._connections) < self.spec.connections

    def _until_next(self, now: float) -> float:
        """Return how long to wait for the sockets, in seconds, with the timer set to the next due time."""
        if now < self._paused_until:
            return self._paused_until - now
        if self._has_room() and not self._arrivals.done:
            if self._arrivals.due - now < _SPIN:
                return 0
            self._timer.wake_at(self._arrivals.due)
        return _LONGEST_WAIT

    def _dispatch(self, due: float) -> None:
        """Give one due request a connection: a new one where the spec asks for it or none is idle."""
        fresh = self.spec.fresh > 0 and self._random.random() < self.spec.fresh
        if self._idle and not fresh:
            connection = self._idle.popleft()
        else:
            if len(self._connections) >= self.spec.connections:
                self._forget(self._idle.popleft())
            connection = self._open(fresh)
        connection.sample = (self._arrivals.taken - 1) % self.spec.samples
        self._take_up(connection, due)
        if not connection.connecting:
            self._transmit(connection)

    def _open(self, fresh: bool) -> Connection:
        connection = Connection((self.spec.host, self.spec.port), self._heads)
        connection.fresh = fresh
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, _OUT)
        return connection

    def _take_up(self, connection: Connection, due: float) -> None:
        connection.due, connection.sent = due, time.monotonic()
        connection.tries, connection.busy = 1, True
        self._busy += 1

    def _transmit(self, connection: Connection) -> None:
        connection.sent = time.monotonic()
        try:
            if not connection.send(self._request(connection)):
                self._epoll.modify(connection.fd, _IN | _OUT)
        except Broken as broken:
            self._fail(connection, broken)

    def _request(self, connection: Connection) -> bytes:
        if not connection.fresh:
            return self._requests[connection.sample]
        request = self._closing_requests.get(connection.sample)
        if request is None:
            request = infer_request(self.spec, connection.sample, close=True)
            self._closing_requests[connection.sample] = request
        return request

    def _handle(self, connection: Connection) -> None:
        """Act on a connection that epoll named."""
        try:
            if connection.connecting:
                connection.connected()
                self._epoll.modify(connection.fd, _IN)
                self._transmit(connection)
                return
            if connection.unsent and connection.send_rest():
                self._epoll.modify(connection.fd, _IN)
            answer = connection.receive()
        except Broken as broken:
            self._fail(connection, broken)
            return
        if answer is not None:
            self._finish(connection, *answer)

    def _finish(self, connection: Connection, head: ResponseHead, body: bytes) -> None:
        """Record a complete answer and use the connection again, at once where something is due."""
        now = time.monotonic()
        self._busy -= 1
        connection.busy = False
        timing = Timing(connection.due, connection.sent, now, connection.fresh)
        self._answers.record(timing, connection.sample, head, body)
        if head.close or connection.fresh:
            self._forget(connection)
        else:
            self._idle.append(connection)
        self._send_due(now)

    def _fail(self, connection: Connection, broken: Broken) -> None:
        """Drop a connection that broke; its request, if it has one, is sent again or recorded as failed."""
        now = time.monotonic()
        again = connection.busy and isinstance(broken, Cut) and connection.tries <= self.spec.retries
        if isinstance(broken, Cut):
            self.records.add_break(Break(now, connection.port, str(broken), connection.busy, again))
        if connection.busy:
            self._busy -= 1
        else:
            self._idle.remove(connection)
        if connection.busy and not again:
            timing = Timing(connection.due, connection.sent, now, connection.fresh)
            self.records.add_failure(timing, 0, str(broken))
        if connection.connecting and self.spec.mode == "closed":
            self._paused_until = now + _PAUSE
        self._forget(connection)
        if again:
            self._send_again(connection)

    def _send_again(self, lost: Connection) -> None:
        """Send the request of a cut connection on a new one; it stays due when it was."""
        connection = self._open(lost.fresh)
        connection.sample = lost.sample
        self._take_up(connection, lost.due)
        connection.tries = lost.tries + 1

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        connection.close()  # which also takes it out of epoll

    def _look(self, now: float) -> None:
        """Do what needs no exact moment: stop when told to, change the rate, fail what waited too long.

        What waited for a connection has the whole time left from then on: given up at once, after the server had begun
        with it, a backlog of a few seconds would never end, however fast the server is again.
        """
        if self._stop.is_set():
            self._arrivals.stop(now)
        while self._rates:
            self._arrivals.pace(self._rates.popleft(), now)
        for connection in list(self._connections.values()):
            if connection.busy and now - connection.sent > self.spec.timeout_s:
                self._fail(connection, Broken("timeout"))

    def _report(self, seen: int, elapsed: float) -> int:
        """Tell the caller about the requests that ended since row `seen`; return the next first row."""
        if self._on_progress is not None:
            self._on_progress(progress_document(self.records, seen, elapsed))
        self._fold()
        return len(self.records)

    def _fold(self) -> None:
        """Where rows are not kept: add them to the totals and forget them."""
        if self._totals is not None:
            self._totals.add(self.records)
            self.records.clear_rows()
