"""The controller's process: journal, fleet, drivers and the control API, in one event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import uvicorn
import uvloop
from setproctitle import setproctitle

from changeover import structs
from changeover.access import guard_of
from changeover.controller.api import make_app
from changeover.controller.desk import Desk
from changeover.controller.faults import read_faults
from changeover.controller.fleet import Fleet
from changeover.controller.patience import PatientProtocol
from changeover.controller.service import Service
from changeover.errors import ChangeoverError, InvalidRequest
from changeover.records.journal import Journal
from changeover.runtime.slices import give_way
from changeover.settings import Settings
from changeover.telemetry import logs
from changeover.tls import context_of
from changeover.transport.child import arguments, introduce
from changeover.transport.exits import EXIT_CONFIGURATION
from changeover.transport.link import Frame, Kind, Link, LinkClosed
from changeover.transport.page import RoutePage, TableStore

_THREADS = 4
"""For files and the journal: the default grows with the cores, and each thread keeps memory of its own."""
_NICE = 10
log = logging.getLogger("changeover.controller")


def main() -> None:
    """Run until the supervisor ends it or dies."""
    fd, parent = arguments()
    link, welcome = introduce(fd, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = Settings(**welcome.json()["settings"])
    give_way(min(os.nice(0) + _NICE, 19))  # sealing, hashing and answering operators must not be felt by clients
    logs.configure(verbose=settings.verbose, form=settings.log_format, process="controller")
    setproctitle("changeover: controller")
    structs.build()
    page = RoutePage(welcome.fds[1], writable=True)
    try:
        journal = Journal(settings.state / "journal.sqlite")
        term = journal.next_term()
    except ChangeoverError as error:
        log.critical("%s [%s]", error.message, error.reason)
        # Where versions serve already they go on without a controller, and the next one finds the disk mended.
        os._exit(1 if any(page.words) else EXIT_CONFIGURATION)  # at once: a link that ends first looks like a hang
    with journal:
        try:
            uvloop.run(_run(link, welcome, journal, page, term))
        except InvalidRequest as error:
            log.critical("%s; trying again", error.message)  # its files were well when the server started
            sys.exit(1)


def _file_threads() -> ThreadPoolExecutor:
    """All of them from the start: what a server needs after a day is seen in its first minute."""
    threads, together = ThreadPoolExecutor(_THREADS, "files"), Barrier(_THREADS)
    for _ in range(_THREADS):
        threads.submit(together.wait)
    return threads


async def _run(link: Link, welcome: Frame, journal: Journal, page: RoutePage, term: int) -> None:
    """Take office as this term, then serve the API until killed."""
    asyncio.get_running_loop().set_default_executor(_file_threads())
    control, _, store, known = welcome.fds
    settings = Settings(**welcome.json()["settings"])
    fleet = Fleet(page, TableStore(store, writable=True), _sender(link), term)
    fleet.faults = read_faults(settings.faults)
    if settings.faults is not None:
        log.warning(
            "THIS IS A REHEARSAL: faults are injected on purpose, as %s says: %s", settings.faults, fleet.faults
        )
    with os.fdopen(known) as file:
        file.seek(0)
        fleet.take_over(json.load(file), welcome.json()["gateways"], settings.gateways)
    desk = Desk()
    fleet.news.listen = lambda: _hear(link, fleet, desk)
    asyncio.get_running_loop().add_reader(link.fileno(), _hear, link, fleet, desk)
    service = Service(settings, journal, fleet, term)
    server = _server(settings, service)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.run())
        await service.taken_over.wait()
        tasks.create_task(desk.run(service.loads))
        tasks.create_task(server.serve(sockets=[socket.socket(fileno=control)]))


def _server(settings: Settings, service: Service) -> uvicorn.Server:
    """The control port's server: TLS and the guard as the settings want them."""
    guard = guard_of(settings.token_file, settings.tls_client_ca)
    app = make_app(service, guard, certified=settings.tls_client_ca is not None)
    config = uvicorn.Config(app, http=PatientProtocol, log_level="warning", lifespan="off", ws="none", access_log=False)
    config.load()
    config.ssl = context_of(settings.tls_cert, settings.tls_key, settings.tls_client_ca, demand=True)
    return uvicorn.Server(config)


def _hear(link: Link, fleet: Fleet, desk: Desk) -> None:
    try:
        if link.wants_write:
            link.flush()
        while (message := link.receive()) is not None:
            if message.kind is Kind.ASK:
                desk.take(message)
            else:
                fleet.hear(message)
    except LinkClosed:
        os._exit(1)


def _sender(link: Link) -> Callable[[Frame], None]:
    def send(message: Frame) -> None:
        try:
            link.send(message)
        except LinkClosed:
            os._exit(1)

    return send


if __name__ == "__main__":
    main()
