"""Settings and shared memory, asked over gRPC."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from changeover.access import guard_of
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.server_settings import TRACE
from tests.gateway.calls import FakeCall, call
from tests.gateway.extended import grpc_app, take
from tests.gateway.stage import Stage, entry, stage

BOTH, READER = "both-0123456789abcdef", "infer-0123456789abcdef"


def in_stage(check: Any) -> None:
    """Run a check with a stage that serves one version."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "10"))
            here.page.store(0, 1)
            check(here)

    asyncio.run(scenario())


def settings_of(asked: FakeCall, message: str) -> dict[str, Any]:
    """What an answer says of the settings, without the kinds of its values."""
    assert asked.status is Status.OK, asked.message
    told = asked.values(message)["settings"]
    return {name: list(next(iter(kind.values()))) if "value" in kind else next(iter(kind.values()))
            for name, kind in told.items()}  # fmt: skip


def test_log_settings_are_read_and_changed() -> None:
    """A change holds for who asks later; a value of another kind changes nothing."""

    def check(here: Stage) -> None:
        app = grpc_app(here)

        def ask(**settings: dict[str, Any]) -> FakeCall:
            asked = call("LogSettings", settings=settings)
            app(asked)  # type: ignore[arg-type]
            return asked

        before = settings_of(ask(), "LogSettingsResponse")
        assert (before["log_info"], before["log_verbose_level"], before["log_format"]) == (True, 0, "default")
        changed = ask(log_info={"bool_param": False}, log_verbose_level={"uint32_param": 2})
        expected = {**before, "log_info": False, "log_verbose_level": 2}
        assert settings_of(changed, "LogSettingsResponse") == expected
        for wrong in ({"log_info": {"string_param": "no"}}, {"log_info": {}}):
            assert ask(**wrong).status is Status.INVALID_ARGUMENT
        assert settings_of(ask(log_level={"bool_param": True}), "LogSettingsResponse") == expected
        assert settings_of(ask(), "LogSettingsResponse") == expected

    in_stage(check)


def test_trace_settings_are_told_and_stay() -> None:
    """What is done anyway may be asked for; anything else is refused, and so is a model that nobody knows."""

    def check(here: Stage) -> None:
        def ask(model: str = "", **settings: list[str]) -> FakeCall:
            values = {name: {"value": value} for name, value in settings.items()}
            return take(here, call("TraceSetting", model_name=model, settings=values))

        expected = {name: value if isinstance(value, list) else [value] for name, value in TRACE.items()}
        for fine in (ask(), ask("m"), ask(trace_level=["OFF"], trace_rate=["1000"]), ask(trace_count=[])):
            told = settings_of(fine, "TraceSettingResponse")
            assert {name: value if isinstance(value, list) else [value] for name, value in told.items()} == expected
        assert ask(trace_level=["TIMESTAMPS"]).reason == b"setting_unsupported"
        assert ask("nobody").reason == b"model_not_found"

    in_stage(check)


def test_to_change_settings_takes_another_scope(tmp_path: Path) -> None:
    """Who may infer may read them; only an administrator may change them."""
    file = tmp_path / "tokens"
    file.write_text(f"infer {READER}\ninfer,admin {BOTH}\n")
    file.chmod(0o600)
    guard = guard_of(str(file), None)

    def check(here: Stage) -> None:
        def ask(token: str, **settings: dict[str, Any]) -> Status | None:
            asked = call("LogSettings", settings=settings)
            asked.headers[b"authorization"] = f"Bearer {token}".encode()
            return take(here, asked, guard).status

        change = {"log_info": {"bool_param": True}}
        assert [ask(READER), ask(READER, **change), ask(BOTH, **change)] == [
            Status.OK, Status.PERMISSION_DENIED, Status.OK,
        ]  # fmt: skip

    in_stage(check)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (call("SystemSharedMemoryRegister", name="r", key="/r", byte_size=8), b"shared_memory_unsupported"),
        (call("CudaSharedMemoryRegister", name="r", raw_handle=b"x", byte_size=8), b"cuda_shared_memory_unsupported"),
        (call("CudaSharedMemoryStatus", name="r"), b"shared_memory_unknown"),
    ],
)
def test_memory_that_is_not_shared_is_refused(asked: FakeCall, reason: bytes) -> None:
    """With the word that the HTTP port has; a server without the setting registers nothing."""

    def check(here: Stage) -> None:
        assert take(here, asked).reason == reason

    in_stage(check)


def test_of_a_gpu_there_is_nothing_to_forget() -> None:
    """Clients unregister all before they begin."""

    def check(here: Stage) -> None:
        assert take(here, call("CudaSharedMemoryUnregister")).status is Status.OK
        assert take(here, call("CudaSharedMemoryStatus")).values("CudaSharedMemoryStatusResponse")["regions"] == {}

    in_stage(check)
