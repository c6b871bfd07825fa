"""A fleet whose messages are kept, with gateways that say what a test has them say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from changeover.controller.fleet import Fleet
from changeover.controller.members import GatewayState
from changeover.transport import page
from changeover.transport.control import Acknowledged, LoadingEntry, RoutingTable, Signature, encode
from changeover.transport.link import Frame, Kind, frame
from changeover.transport.page import RoutePage, TableRecord, TableStore


class House:
    """A fleet whose messages are kept.

    Attributes:
        sent: frames, oldest first; `on_sent` hears of each.
        pending: frames that wait in the controller's link.
    """

    def __init__(self) -> None:
        self.fds = page.create_page(), page.create_store()
        self.sent: list[Frame] = []
        self.fleet = Fleet(RoutePage(self.fds[0], writable=True), TableStore(self.fds[1], writable=True), self.send, 4)
        self.pending: list[Frame] = []
        self.fleet.news.listen = self._listen
        self.on_sent: Callable[[Frame], None] = lambda _: None

    def send(self, message: Frame) -> None:
        self.sent.append(message)
        self.on_sent(message)

    def gateway(self, member: int, *, ready: bool = True) -> GatewayState:
        made = self.fleet.gateways[member] = GatewayState(member, 1000 + member, ready=ready)
        return made

    def says(self, member: int, kind: Kind, body: msgspec.Struct) -> None:
        self.fleet.hear(Frame(kind, encode(body), source=member))

    def up(self, member: int) -> Frame:
        """The supervisor's word that a gateway was started."""
        return frame(Kind.UP, {"role": "gateway", "member": member, "pid": 1000 + member})

    def ready(self, member: int) -> Frame:
        """The supervisor's word that a gateway accepts connections."""
        return frame(Kind.READY, {"member": member})

    def asked(self, kind: Kind) -> list[int]:
        """Who was asked, oldest first."""
        return [f.target for f in self.sent if f.kind is kind]

    def killed(self) -> list[int]:
        """Who is to be killed."""
        return [f.json()["member"] for f in self.sent if f.kind is Kind.KILL]

    def dies(self, role: str, **more: Any) -> None:
        self.fleet.hear(frame(Kind.DIED, {"role": role, "pid": 1, "code": -9, **more}))

    def publish(self, epoch: int, *loadings: int, draining: Sequence[int] = ()) -> None:
        """Put a table of word 1 into the store that names these loadings."""
        told = {n: LoadingEntry(n, str(n), "d", Signature([], [], True), 32, 10.0) for n in (*loadings, *draining)}
        entries, left = [told[n] for n in loadings], [told[n] for n in draining]
        table = RoutingTable("m", 1, epoch, [(10_000, loadings[0])], entries, loadings[0], draining=left)
        self.fleet.publish(TableRecord(1, epoch, 4, encode(table)))

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)

    def _listen(self) -> None:
        waiting, self.pending = self.pending, []
        for message in waiting:
            self.fleet.hear(message)


def acknowledged(epoch: int, leases: dict[int, int]) -> Acknowledged:
    """A gateway's answer."""
    return Acknowledged(1, epoch, leases, 5, 0)
