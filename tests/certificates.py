"""Certificates for tests, made by the `openssl` command: a CA, and what it signs."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """A CA with its files in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("certificates for tests are made by the openssl command, which is not here")
        self._folder = folder
        self.cert, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        extensions = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        _openssl("req", "-x509", *_KEY, "-subj", f"/CN={name}", "-out", self.cert, "-keyout", self._key, *extensions)

    def issue(self, name: str) -> Pair:
        """A certificate for 127.0.0.1 and localhost, good for servers and for clients."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signing = ["-CA", self.cert, "-CAkey", self._key, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        extensions = ["-addext", "basicConstraints=CA:FALSE"]
        _openssl(
            *("req", "-x509", *_KEY, "-subj", f"/CN={name}", "-out", pair.cert, "-keyout", pair.key),
            *(*signing, *extensions),
        )
        return pair

    def client_context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this CA; with `pair` it shows a certificate."""
        context = ssl.create_default_context(cafile=self.cert)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
