"""The standard's health service, `grpc.health.v1`: asked once, or told of every change."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from changeover.errors import DeadlineExceeded, NotFound
from changeover.gateway.door.http2.talk import Turn
from changeover.gateway.grpc_asker import error_status
from changeover.gateway.models import Models
from changeover.protocol.oip_grpc_messages import decode, encode

_REQUEST, _RESPONSE = "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse"
Values = dict[str, Any]


class _Told(NamedTuple):
    service: str
    status: str


class Health:
    """What one gateway says of itself.

    Args:
        models: who knows whether the server has finished its first load.
        services: that may be asked about.
    """

    def __init__(self, models: Models, services: frozenset[str]) -> None:
        self._models = models
        self._services = services
        self._watching: dict[Turn, _Told] = {}

    def check(self, asked: Values) -> Values:
        """The answer to `Check`.

        Raises:
            NotFound: there is no such service (`service_not_found`).
        """
        service = asked["service"]
        if service not in self._services:
            raise NotFound(f"no such service: {service!r}", reason="service_not_found")
        return {"status": self._status(service)}

    def watch(self, call: Turn) -> None:
        """Tell a caller now and at every change, until it goes away; of an unknown service that it is unknown.

        Raises:
            InvalidRequest: the message is none.
        """
        service = decode(_REQUEST, call.body)["service"]
        call.abandoned = lambda: self._leave(call)
        self._tell(call, _Told(service, self._status(service)))

    def look(self) -> None:
        """Tell those who watch what has changed; one whose time is over is told that."""
        now = time.monotonic()
        for call, told in list(self._watching.items()):
            status = self._status(told.service)
            if call.timeout is not None and call.received + call.timeout < now:
                self._leave(call)
                error_status(call, DeadlineExceeded("the time of this call is over"))
            elif status != told.status:
                self._tell(call, told._replace(status=status))

    def _tell(self, call: Turn, told: _Told) -> None:
        self._watching[call] = told
        call.tell((encode(_RESPONSE, {"status": told.status}),))

    def _leave(self, call: Turn) -> None:
        call.abandoned = None  # which holds the call
        self._watching.pop(call, None)

    def _status(self, service: str) -> str:
        if service not in self._services:
            return "SERVICE_UNKNOWN"
        return "SERVING" if self._models.ready else "NOT_SERVING"
