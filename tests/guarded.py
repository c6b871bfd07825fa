"""A server that tests must show a token or a certificate to."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

from changeover.testing import PATIENCE, Reply, Server
from tests.certificates import Authority, Pair

INFER, ADMIN = "infer-0123456789abcdef", "admin-0123456789abcdef"


def write_tokens(path: Path, text: str) -> None:
    """Put a whole file in the place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


class GuardedServer(Server):
    """A server that a test must show something to."""

    def __init__(self, folder: Path, *, encrypted: bool = True, **settings: object) -> None:
        self._encrypted = encrypted
        self.authority = Authority(folder)
        self.pair = self.authority.issue("server")
        self.client_pair = self.authority.issue("client")
        self.tokens = folder / "tokens"
        write_tokens(self.tokens, f"infer {INFER} shop\nadmin {ADMIN} deploy\n")
        if encrypted:
            settings |= {"tls_cert": self.pair.cert, "tls_key": self.pair.key, "tls_client_ca": self.authority.cert}
        super().__init__(folder, token_file=self.tokens, **settings)

    def ask(
        self, port: int, method: str, path: str, body: bytes | None = None, *, token: str = "", pair: Pair | None = None
    ) -> Reply:
        """One request, over TLS if the server has it."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        if self._encrypted:
            context = self.authority.client_context(pair)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        try:
            connection.request(method, path, body, {"authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def control(self, method: str, path: str, body: bytes | None = None) -> Any:
        """As an operator."""
        reply = self.ask(self.control_port, method, path, body, token=ADMIN, pair=self.client_pair)
        assert reply.status < 300, reply
        return reply.json()

    def _answers(self, port: int, path: str) -> bool:  # type: ignore[override] # this one needs the certificates
        try:
            return self.ask(port, "GET", path, token=ADMIN, pair=self.client_pair).status == 200
        except (OSError, http.client.HTTPException):
            return False
