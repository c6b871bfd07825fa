"""Port 8000 of a server that asks for no token: who may change something."""

from __future__ import annotations

import asyncio

import pytest

from changeover.gateway.http import FIXED, OF_A_MODEL, OF_A_REGION, OF_THE_REPOSITORY, Endpoint
from tests.gateway.extended import ask
from tests.gateway.stage import Stage, entry, stage


@pytest.mark.parametrize(
    ("method", "host", "origin", "status"),
    [
        ("POST", b"localhost:8000", None, 200),
        ("POST", b"localhost:8000", b"http://localhost:8000", 200),
        ("POST", b"rebound.example", b"http://rebound.example", 403),
        ("POST", b"localhost:8000", b"http://elsewhere.example", 403),
        ("GET", b"rebound.example", None, 200),
    ],
)
def test_what_commands_an_open_server_is_asked_by_its_own_names(
    method: str, host: bytes, origin: bytes | None, status: int
) -> None:
    """A page of another site changes nothing, whatever its name means; what only tells is told by any name."""

    def check(here: Stage) -> None:
        headers = {b"host": host} | ({b"origin": origin} if origin else {})
        request = ask(here, method, "/v2/logging", body=b"{}" if method == "POST" else b"", headers=headers)
        assert request.status == status, request.answer
        assert status == 200 or request.json()["reason"].startswith("foreign_")

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "10"))
            check(here)

    asyncio.run(scenario())


def test_a_page_of_another_site_registers_no_memory() -> None:
    """It could have outputs written there."""

    async def scenario() -> None:
        async with stage() as here:
            headers = {b"host": b"localhost:8000", b"origin": b"http://elsewhere.example"}
            for what in ("register", "unregister"):
                request = ask(here, "POST", f"/v2/systemsharedmemory/region/r/{what}", body=b"{}", headers=headers)
                assert (request.status, request.json()["reason"]) == (403, "foreign_origin")

    asyncio.run(scenario())


def commands(endpoint: Endpoint) -> bool:
    """Whether a row may change the server: what is posted, and is no inference."""
    return "POST" in endpoint.methods and endpoint.what != "infer"


COMMANDS = [path for path, endpoint in FIXED.items() if commands(endpoint)]
COMMANDS += [f"/v2/models/m/{last}" for last, endpoint in OF_A_MODEL.items() if commands(endpoint)]
COMMANDS += [f"/v2/{last.replace('/', '/region/r/')}" for last, endpoint in OF_A_REGION.items() if commands(endpoint)]
COMMANDS += [f"/v2/repository/models/m/{last}" for last, endpoint in OF_THE_REPOSITORY.items() if commands(endpoint)]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_row_that_commands_is_held_to_it(path: str) -> None:
    """Whatever rows there are."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "10"))
            request = ask(here, "POST", path, body=b"{}", headers={b"host": b"rebound.example"})
            assert (request.status, request.json()["reason"]) == (403, "foreign_host")

    asyncio.run(scenario())
