"""How long the control port waits for a request: uvicorn by itself waits for a silent connection's for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "changeover.abort"
"""In a connection's scope: ends it at once, and throws away what its reader has not taken."""
HEAD_SECONDS = 10.0
"""From the connection to the end of its first head, and from the first byte of a later head to its end."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's connection, which ends without a word when a head does not come in time."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is waited for."""
        super().connection_made(transport)
        self._expect_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is."""
        self._expect_nothing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A later head is waited for; for the first one time runs already."""
        if self._due is None:
            self._expect_a_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; what the answer takes is the server's own time."""
        self._expect_nothing()
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]
        super().on_headers_complete()

    def _expect_a_head(self) -> None:
        self._due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
