"""Triton's extensions on the HTTP port of one gateway."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from changeover.gateway.common import Common
from changeover.gateway.extensions import Extensions
from changeover.gateway.http import HttpApp
from changeover.gateway.shared_memory import Regions
from changeover.transport.board import Board, create_board
from tests.gateway.extended import ask
from tests.gateway.stage import Request, entry, stage


def test_statistics_list_versions_by_number() -> None:
    """All that serve, or the one named; of all models where none is named."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 1)
            assert ask(here, "GET", "/v2/models/stats").json() == {"model_stats": []}
            here.serve(1, entry(7, "10"), entry(8, "9"))
            for path in ("/v2/models/stats", "/v2/models/m/stats"):
                told = ask(here, "GET", path).json()["model_stats"]
                assert [(s["name"], s["version"]) for s in told] == [("m", "9"), ("m", "10")]
            (told,) = ask(here, "GET", "/v2/models/m/versions/9/stats").json()["model_stats"]
            assert told["version"] == "9"
            assert ask(here, "GET", "/v2/models/m/versions/11/stats").status == 400
            assert ask(here, "GET", "/v2/models/n/stats").json()["reason"] == "model_not_found"

    asyncio.run(scenario())


def test_the_configuration_is_the_active_versions_or_the_one_named() -> None:
    """By the batch that each takes."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"), entry(8, "2", max_batch=64))
            assert ask(here, "GET", "/v2/models/m/config").json()["max_batch_size"] == 8
            assert ask(here, "GET", "/v2/models/m/versions/2/config").json()["max_batch_size"] == 64
            assert ask(here, "GET", "/v2/models/m/versions/3/config").json()["reason"] == "version_not_found"

    asyncio.run(scenario())


def test_the_server_lists_its_extensions() -> None:
    """By Triton's names."""

    async def scenario() -> None:
        async with stage() as here:
            extensions = ask(here, "GET", "/v2").json()["extensions"]
            assert {"classification", "model_configuration", "statistics"} <= set(extensions)
            assert extensions == sorted(extensions)

    asyncio.run(scenario())


def test_log_settings_of_one_gateway_are_those_of_all(caplog: pytest.LogCaptureFixture) -> None:
    """The one that is told does so at once, the others when they look at the board; nothing else is changed."""

    async def scenario() -> None:
        memory = create_board(2)
        root = logging.getLogger()
        level, filters = root.level, {handler: list(handler.filters) for handler in root.handlers}
        try:
            async with stage() as here:
                commons = [Common(Board(memory)) for _ in range(2)]
                apps = [
                    Extensions(here.models, common, Regions(common, 1 << 20, enabled=False), place)
                    for place, common in enumerate(commons)
                ]
                request = Request(b'{"log_verbose_level": 1, "log_warning": false}', path="/v2/logging")
                HttpApp(here.pipeline, here.models, apps[0], here.repository)(request)  # type: ignore[arg-type]
                assert (request.status, request.json()["log_verbose_level"]) == (200, 1)
                assert root.level == logging.DEBUG
                log = logging.getLogger("changeover.test")
                log.warning("left out")
                log.debug("let through")
                root.setLevel(logging.ERROR)
                apps[1].tell()
                assert root.level == logging.DEBUG
                log.error("let through too")
            told = [record.message for record in caplog.records]
            assert [word for word in told if "let through" in word] == ["let through", "let through too"]
            assert "left out" not in told
        finally:
            root.setLevel(level)
            for handler, before in filters.items():
                handler.filters = before
            os.close(memory)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/v2/logging", b'{"log_file": "/tmp/log"}', 400, "setting_unsupported"),
        ("/v2/logging", b"[]", 400, "malformed_json"),
        ("/v2/logging", b"{", 400, "malformed_json"),
        ("/v2/logging", b" " * 65537, 413, "json_too_large"),
        ("/v2/trace/setting", b'{"trace_level": ["TENSORS"]}', 400, "setting_unsupported"),
        ("/v2/models/n/trace/setting", b"", 400, "model_not_found"),
        ("/v2/models/m/trace/setting", b"", 200, None),
        ("/v2/trace/setting", b'{"trace_level": ["OFF"]}', 200, None),
    ],
)
def test_settings_that_cannot_be_are_refused(path: str, body: bytes, status: int, reason: str | None) -> None:
    """With a reason; what asks for what is there is answered with it."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 1)
            here.serve(1, entry(7, "1"))
            reply = ask(here, "POST", path, body=body)
            assert (reply.status, reply.json().get("reason")) == (status, reason)
            if reason is None:
                assert reply.json() == ask(here, "GET", "/v2/trace/setting").json()
                assert reply.json()["trace_level"] == ["OFF"]

    asyncio.run(scenario())
