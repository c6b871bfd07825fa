"""`changeover.AsyncClient`: the same as `Client`, to be awaited."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self, Unpack

try:
    import aiohttp
    from yarl import URL
except ModuleNotFoundError:
    raise ModuleNotFoundError("changeover.AsyncClient needs aiohttp: pip install 'changeover[client]'") from None

from changeover.client import ask, inference
from changeover.client.ask import Answer, Ask, ConnectionLost, Document, Unreachable, Untrusted, get, model_path
from changeover.client.credentials import Access, Credentials, checked
from changeover.client.inference import Arrays, How, Outputs
from changeover.client.retries import Tries
from changeover.client.upload import packed, plan_text
from changeover.client.verbs import ControlVerbs
from changeover.client.vigil import OnChange, Vigil
from changeover.errors import ChangeoverError

_CHUNK = 1 << 20
_LOOK_WITHIN = 10.0  # seconds that a wait bears without an answer: the controller may be replaced meanwhile


class AsyncClient(ControlVerbs[Awaitable[Document], Awaitable[list[Document]]]):
    """Both ports of one server, for one event loop; it connects when it is first used.

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._data.close()
        await self._control.close()

    async def infer(self, model: str, inputs: Arrays, **how: Unpack[How]) -> Outputs:
        """Run a model on these arrays; see `How` for what may be asked beside."""
        asked = inference.infer(model, inputs, how)
        return inference.outputs(await self._data.send(asked, how.get("timeout", self._timeout)))

    async def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, a model, or a version of it can answer."""
        path = "/v2/health/ready" if model is None else model_path(model, version, "ready")
        return (await self._data.send(Ask("GET", path), self._timeout)).ready()

    async def metadata(self, model: str | None = None, version: str | None = None) -> Document:
        """Return what the server, a model, or a version of it says of itself."""
        path = "/v2" if model is None else model_path(model, version)
        return (await self._data.send(get(path), self._timeout)).document()

    async def push(
        self,
        name: str,
        source: Path | str | bytes,
        version: str | None = None,
        plan: Mapping[str, object] | None = None,
    ) -> Document:
        """Store a new version and start its rollout, as `Client.push`."""
        with tempfile.TemporaryFile() as room:
            path = Path(source) if isinstance(source, str) else source
            body, content_type = await asyncio.to_thread(packed, path, plan_text(plan), room)
            with body:
                asked = ask.push(name, body, content_type, version)
                return (await self._control.send(asked, max(self._timeout, ask.UPLOADED_WITHIN))).document()

    async def wait(
        self,
        name: str,
        rollout: str | None = None,
        timeout: float = 1800.0,  # noqa: ASYNC109 - as `Client.wait` has it
        on_change: OnChange | None = None,
    ) -> Document:
        """Wait for a rollout's outcome, as `Client.wait`."""
        found = await (self.status(name) if rollout is None else self.rollout(rollout))
        vigil = Vigil(found["id"], timeout, on_change)
        while not vigil.over(found):
            await asyncio.sleep(vigil.pause())
            asked = ask.one_rollout(found["id"])
            found = (await self._control.send(asked, min(_LOOK_WITHIN, self._timeout))).document()
        return found

    async def _one(self, what: Ask) -> Document:
        return (await self._control.send(what, self._timeout)).document()

    async def _many(self, what: Ask, member: str) -> list[Document]:
        found: list[Document] = (await self._one(what))[member]
        return found


class _Port:
    """One port, over connections that are kept."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._url = url
        self._headers = credentials.headers
        self._tls = credentials.tls() if url.startswith("https") else True
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, what: Ask, seconds: float) -> Answer:
        """Return the answer, whatever it says, after as many tries as are safe and have time."""
        tries = Tries(seconds)
        while True:
            try:
                answer = await self._once(what, tries)
            except Unreachable as error:
                failure: ChangeoverError = error
            else:
                if answer.status != 503 or not what.repeatable:
                    return answer
                failure = answer.error()
            await asyncio.sleep(tries.pause(what, failure))

    async def _once(self, what: Ask, tries: Tries) -> Answer:
        left = tries.left()
        if self._session is None:  # made inside the loop that it is for
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                what.method,
                URL(self._url + what.path, encoded=True),
                data=what.body if what.body is None or isinstance(what.body, bytes) else _chunks(what.body),
                headers={**self._headers, **what.fields(left)},
                timeout=aiohttp.ClientTimeout(total=left),
                ssl=self._tls,
                allow_redirects=False,
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, headers, await answer.read())
        except TimeoutError:
            raise tries.too_late() from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(self._url, error) from None


async def _chunks(body: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(body.read, _CHUNK):
        yield chunk


def _failure(url: str, error: Exception) -> ChangeoverError:
    if isinstance(error, aiohttp.ClientSSLError):
        return Untrusted(f"no TLS connection to {url}: {error}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(f"no connection to {url}: {error}")
    return ConnectionLost(f"the connection to {url} broke before the answer: {error}")
