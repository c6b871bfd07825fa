"""A gateway's life: join, accept, serve, and leave without losing anybody."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import uvloop
from setproctitle import setproctitle

from changeover.access import guard_of
from changeover.errors import Internal, InvalidRequest
from changeover.gateway.admission import Room
from changeover.gateway.common import Common
from changeover.gateway.door.budget import Budget
from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.server import Http2Server
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.listener import DoorServer
from changeover.gateway.extensions import Extensions
from changeover.gateway.grpc import LARGE, STREAMS, GrpcApp
from changeover.gateway.http import HttpApp
from changeover.gateway.models import Models
from changeover.gateway.reporter import Reporter
from changeover.gateway.repository import Repository
from changeover.gateway.reservoir import on_sample
from changeover.gateway.shared_memory import Regions
from changeover.gateway.tracing import Tracer, pipeline
from changeover.settings import Settings
from changeover.telemetry import logs
from changeover.tls import context_of
from changeover.transport.board import Board
from changeover.transport.child import arguments, introduce
from changeover.transport.control import Committed, Prepare
from changeover.transport.link import Frame, Kind, Link, LinkClosed, frame
from changeover.transport.page import RoutePage, TableStore

_REPORT = 0.25
_PUSH_INSTEAD = ", which is body_limit; a larger model goes by `changeover push`, or into the repository"
_JOIN_TIMEOUT = 5.0
log = logging.getLogger("changeover.gateway")


def main() -> None:
    """Run until the supervisor says stop or dies."""
    fd, parent = arguments()
    link, welcome = introduce(fd, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's signal is the supervisor's to hear
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    settings = Settings(**welcome.json()["settings"])
    logs.configure(verbose=settings.verbose, form=settings.log_format, process="gateway")
    setproctitle("changeover: gateway")
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # requests leave no cycles behind; looking for some costs 7 % of the time
    try:
        gateway = Gateway(link, welcome, settings)
    except InvalidRequest as error:
        log.critical("%s; trying again", error.message)  # its files were well when the server started
        sys.exit(1)
    cut = uvloop.run(gateway.run())
    gateway.close()
    # At once: a link that ends before the process looks like a hang, and who is killed for that has cut requests off.
    os._exit(1 if cut else 0)


class Gateway:
    """Link, models, pipeline and doors of one gateway process."""

    def __init__(self, link: Link, welcome: Frame, settings: Settings) -> None:
        http, grpc, page, store, board = welcome.fds
        self._link = link
        self._settings = settings
        self._models = Models(RoutePage(page), TableStore(store), self._send)
        self._models.place = welcome.json()["index"], settings.gateways
        common = Common(Board(board))
        regions = Regions(common, settings.body_limit, enabled=settings.shared_memory)
        room = Room(settings.queue_limit, settings.max_queue_delay)
        self._tracer = _tracer(settings)
        self._pipeline = pipeline(self._models, room, settings.default_timeout, regions, self._tracer)
        self._models.serve_with(self._pipeline)
        self._extensions = Extensions(self._models, common, regions, welcome.json()["index"], verbose=settings.verbose)
        self._reporter = Reporter(self._models, self._send, self._pipeline.unrouted)
        self._models.on_report = self._reporter.report
        self._repository = Repository(self._send, explicit=settings.explicit)
        self._doors = self._open_doors(socket.socket(fileno=http), socket.socket(fileno=grpc))
        self._stop = asyncio.Event()
        self._term = 0
        self._handlers: dict[Kind, Callable[[Frame], Any]] = {
            Kind.CHANNEL: self._models.on_channel,
            Kind.REFUSED: self._models.on_refused,
            Kind.HEALTH: self._models.on_health,
            Kind.PREPARE: lambda f: self._models.on_prepare(msgspec.json.decode(f.body, type=Prepare)),
            Kind.COMMITTED: lambda f: self._models.on_committed(msgspec.json.decode(f.body, type=Committed)),
            Kind.SAMPLE: lambda f: on_sample(f, self._models.by_name),
            Kind.STOP: lambda _: self._stop.set(),
        }

    def _open_doors(self, http: socket.socket, grpc: socket.socket) -> tuple[DoorServer, Http2Server]:
        """Both behind one guard and one budget of bytes; clients of gRPC want to be told that h2 is spoken."""
        settings = self._settings
        instead = _PUSH_INSTEAD if settings.explicit else ""
        limits = replace(Limits(), body_bytes=settings.body_limit, instead=instead, connections=_most_connections())
        budget, shared = Budget(limits.gateway_bytes), settings.gateways > 1
        guard = guard_of(settings.token_file, settings.tls_client_ca)
        files = settings.tls_cert, settings.tls_key, settings.tls_client_ca
        app = HttpApp(self._pipeline, self._models, self._extensions, self._repository, guard)
        app.body_limit = settings.body_limit
        self._calls = GrpcApp(self._pipeline, self._models, self._extensions, self._repository, guard)
        tls, h2 = context_of(*files, demand=False), context_of(*files, demand=False, alpn="h2")
        return (
            DoorServer(app, http, Gate(limits, budget), shared=shared, tls=tls),
            Http2Server(self._calls, grpc, Gate(limits, budget, STREAMS, LARGE), shared=shared, tls=h2),
        )

    async def run(self) -> int:
        """The whole life; returns the number of requests that were cut off at the drain deadline."""
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._on_link)
        await self._join()
        for door in self._doors:
            door.start()
        self._send(frame(Kind.READY))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._pipeline.watch()), tasks.create_task(self._report())]
            await self._stop.wait()
            self._repository.stop()
            most, duck = self._settings.drain_deadline, self._settings.lame_duck
            leaving = [tasks.create_task(door.stop(most, last=True, duck_seconds=duck)) for door in self._doors]
            cut = sum([await door for door in leaving])
            self._reporter.report()
            self._extensions.tell()
            for task in running:
                task.cancel()
        return cut

    def close(self) -> None:
        """The last spans go out, if there are any."""
        if self._tracer is not None:
            self._tracer.close()

    async def _join(self) -> None:
        """Tables in force and later ones, their channels, and only then the first connection (DESIGN §5.5)."""
        waiting = self._models.join()
        until = asyncio.get_running_loop().time() + _JOIN_TIMEOUT
        while waiting and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.002)
            waiting = self._models.unopened(waiting)

    def _on_link(self) -> None:
        """Frames from the supervisor; its end of file is the end of everything."""
        try:
            if self._link.wants_write:
                self._link.flush()
            while (message := self._link.receive()) is not None:
                if 0 < message.term < self._term:  # the supervisor itself has no term
                    log.warning("a message of term %d is refused: term %d is in office", message.term, self._term)
                    continue
                if message.term > self._term:
                    self._term = message.term
                    self._reporter.forget()
                self._handlers[message.kind](message)
        except LinkClosed:
            os._exit(1)
        except Internal as error:
            log.critical("%s; a new gateway takes over", error.message)  # perhaps a channel's descriptors were lost
            os._exit(1)

    def _send(self, message: Frame) -> None:
        try:
            self._link.send(message)
        except LinkClosed:
            os._exit(1)

    async def _report(self) -> None:
        """Tell the controller what was counted, when anything was."""
        while True:
            await asyncio.sleep(_REPORT)
            self._link.flush()
            self._reporter.report()
            self._extensions.tell()
            self._calls.look()


def _tracer(settings: Settings) -> Tracer | None:
    """None where no traces are wanted: nothing of OpenTelemetry is imported then."""
    if settings.otlp_endpoint is None:
        return None
    from changeover.gateway.otel import OtelTracer

    return OtelTracer(settings.otlp_endpoint, settings.trace_share)


def _most_connections() -> int:
    """Of a door. A quarter of the descriptors stays for channels: without one a new worker could not be reached."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(Limits().connections, descriptors * 3 // 8)


if __name__ == "__main__":
    main()
