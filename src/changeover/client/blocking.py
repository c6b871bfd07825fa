"""`changeover.Client`: a call returns when the answer is there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

try:
    import urllib3
except ModuleNotFoundError:
    raise ModuleNotFoundError("changeover.Client needs urllib3: pip install 'changeover[client]'") from None

from changeover.client import ask, inference
from changeover.client.ask import Answer, Ask, ConnectionLost, Document, Unreachable, Untrusted, get, model_path
from changeover.client.credentials import Access, Credentials, checked
from changeover.client.inference import Arrays, How, Outputs
from changeover.client.retries import Tries
from changeover.client.upload import packed, plan_text
from changeover.client.verbs import ControlVerbs
from changeover.client.vigil import OnChange, Vigil
from changeover.errors import ChangeoverError

_KEPT = 64
"""Connections kept open a port: as many as threads that use a client at the same time."""
_LOOK_WITHIN = 10.0  # seconds that a wait bears without an answer: the controller may be replaced meanwhile


class Client(ControlVerbs[Document, list[Document]]):
    """Both ports of one server. Threads may share it; it connects when it is first used.

    Args:
        url: inference port.
        control: control port.
        timeout: seconds that a call has, retries included.
        access: token, certificates.

    Every call raises a `ChangeoverError`: what the server said, `Unreachable`, or `DeadlineExceeded`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        control: str = "http://127.0.0.1:8002",
        timeout: float = 30.0,
        **access: Unpack[Access],
    ) -> None:
        infer, steer = Credentials.both(access)
        self._data = _Port(checked(url, "url"), infer)
        self._control = _Port(checked(control, "control"), steer)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._data.close()
        self._control.close()

    def infer(self, model: str, inputs: Arrays, **how: Unpack[How]) -> Outputs:
        """Run a model on these arrays; see `How` for what may be asked beside."""
        asked = inference.infer(model, inputs, how)
        return inference.outputs(self._data.send(asked, how.get("timeout", self._timeout)))

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, a model, or a version of it can answer."""
        path = "/v2/health/ready" if model is None else model_path(model, version, "ready")
        return self._data.send(Ask("GET", path), self._timeout).ready()

    def metadata(self, model: str | None = None, version: str | None = None) -> Document:
        """Return what the server, a model, or a version of it says of itself."""
        path = "/v2" if model is None else model_path(model, version)
        return self._data.send(get(path), self._timeout).document()

    def push(
        self,
        name: str,
        source: Path | str | bytes,
        version: str | None = None,
        plan: Mapping[str, object] | None = None,
    ) -> Document:
        """Store a new version and start its rollout; the answer has the rollout's id.

        Args:
            name: of the model.
            source: an ONNX file or its bytes, a version's folder, or a tar stream of one.
            version: its number; one more than the last without it.
            plan: fields of a `model.yaml` for it.
        """
        with tempfile.TemporaryFile() as room:
            body, content_type = packed(Path(source) if isinstance(source, str) else source, plan_text(plan), room)
            with body:
                asked = ask.push(name, body, content_type, version)
                return self._control.send(asked, max(self._timeout, ask.UPLOADED_WITHIN)).document()

    def wait(
        self, name: str, rollout: str | None = None, timeout: float = 1800.0, on_change: OnChange | None = None
    ) -> Document:
        """Wait for a rollout's outcome: `watching` or `succeeded`, `rolled_back`, `failed`; returns the rollout.

        Args:
            name: of the model.
            rollout: its id; the model's present or latest one without it.
            timeout: seconds; then `DeadlineExceeded` (`wait_timeout`), and the rollout goes on.
            on_change: sees the rollout at each new phase and step.
        """
        found = self.status(name) if rollout is None else self.rollout(rollout)
        vigil = Vigil(found["id"], timeout, on_change)
        while not vigil.over(found):
            time.sleep(vigil.pause())
            found = self._control.send(ask.one_rollout(found["id"]), min(_LOOK_WITHIN, self._timeout)).document()
        return found

    def _one(self, what: Ask) -> Document:
        return self._control.send(what, self._timeout).document()

    def _many(self, what: Ask, member: str) -> list[Document]:
        found: list[Document] = self._one(what)[member]
        return found


class _Port:
    """One port, over connections that are kept."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._url = url
        self._headers = credentials.headers
        tls = credentials.tls() if url.startswith("https") else None
        self._pool = urllib3.PoolManager(maxsize=_KEPT, ssl_context=tls)

    def close(self) -> None:
        self._pool.clear()

    def send(self, what: Ask, timeout: float) -> Answer:
        """Return the answer, whatever it says, after as many tries as are safe and have time."""
        tries = Tries(timeout)
        while True:
            try:
                answer = self._once(what, tries)
            except Unreachable as error:
                failure: ChangeoverError = error
            else:
                if answer.status != 503 or not what.repeatable:
                    return answer
                failure = answer.error()
            time.sleep(tries.pause(what, failure))

    def _once(self, what: Ask, tries: Tries) -> Answer:
        left = tries.left()
        try:
            answer = self._pool.request(
                what.method,
                self._url + what.path,
                body=what.body,
                headers={**self._headers, **what.fields(left)},
                timeout=urllib3.Timeout(total=left),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.ReadTimeoutError:
            raise tries.too_late() from None
        except urllib3.exceptions.HTTPError as error:
            raise _failure(self._url, error) from None
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)


def _failure(url: str, error: urllib3.exceptions.HTTPError) -> ChangeoverError:
    if isinstance(error, urllib3.exceptions.SSLError):
        return Untrusted(f"no TLS connection to {url}: {error}")
    if isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        return Unreachable(f"no connection to {url}: {error}")
    return ConnectionLost(f"the connection to {url} broke before the answer: {error}")
