"""Health, metadata, the model repository, statistics and settings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from callers.book import Cases, holds, same, until
from callers.tritons import ALL, GRPC, Triton, alike, numbers

CASES = Cases()


@CASES.case("is_server_live", ALL)
async def _(caller: Triton) -> None:
    same(await caller.call("is_server_live"), True)


@CASES.case("is_server_ready", ALL)
async def _(caller: Triton) -> None:
    same(await caller.call("is_server_ready"), True)


@CASES.case("is_model_ready", ALL)
async def _(caller: Triton) -> None:
    for asked, ready in ((("digits",), True), (("digits", "1"), True), (("digits", "9"), False), (("none",), False)):
        same(await caller.call("is_model_ready", *asked), ready)


@CASES.case("get_server_metadata", ALL)
async def _(caller: Triton) -> None:
    told = await caller.plain("get_server_metadata")
    same((told["name"], told["version"]), ("changeover", caller.where["version"]))
    same({"classification", "schedule_policy"} - set(told["extensions"]), set())


@CASES.case("get_model_metadata", ALL)
async def _(caller: Triton) -> None:
    for version in ("", "1"):
        told = await caller.plain("get_model_metadata", "digits", version)
        same((told["name"], told["versions"], told["platform"]), ("digits", ["1"], "onnxruntime_onnx"))
        (put,), (out,) = told["inputs"], told["outputs"]
        same((put["name"], put["datatype"], numbers(put["shape"])), ("image", "FP32", [-1, 1, 28, 28]))
        same((out["name"], out["datatype"], numbers(out["shape"])), ("scores", "FP32", [-1, 10]))
    holds(await caller.fails(caller.plain("get_model_metadata", "none")), "unknown model")


@CASES.case("get_model_config", ALL)
async def _(caller: Triton) -> None:
    told = await _config(caller, "digits")
    same((told["name"], told["backend"], int(told["max_batch_size"])), ("digits", "onnxruntime", 32))
    (put,) = told["input"]
    same((put["name"], put["data_type"], numbers(put["dims"])), ("image", "TYPE_FP32", [1, 28, 28]))
    holds(await caller.fails(caller.plain("get_model_config", "none")), "unknown model")


async def _config(caller: Triton, model: str) -> Any:
    told = await caller.plain("get_model_config", model)
    return told if caller.over_http else told["config"]


@CASES.case("get_model_repository_index", ALL)
async def _(caller: Triton) -> None:
    states = await _index(caller)
    same((states["digits"], states[_later(caller)]), ("READY", "UNAVAILABLE"))


async def _index(caller: Triton) -> dict[str, str]:
    told = await caller.plain("get_model_repository_index")
    return {row["name"]: row["state"] for row in (told if caller.over_http else told["models"])}


def _later(caller: Triton) -> str:
    """The model that this client loads."""
    return f"later_{caller.kind}"


async def _gives(caller: Triton, factor: float) -> None:
    x = np.array([[1, 2, 3, 4]], np.float32)
    result = await caller.call("infer", _later(caller), [caller.put("x", x, "FP32")])
    alike(result.as_numpy("y"), x * np.float32(factor))


@CASES.case("load_model", ALL)
async def _(caller: Triton) -> None:
    same(await caller.call("is_model_ready", _later(caller)), False)
    await caller.call("load_model", _later(caller))
    same(await caller.call("is_model_ready", _later(caller)), True)
    await _gives(caller, 2)
    holds(await caller.fails(caller.call("load_model", "none")), "none")


@CASES.case("load_model, config", ALL)
async def _(caller: Triton) -> None:
    await caller.call("load_model", _later(caller), config=json.dumps({"max_batch_size": 4}))
    await _gives(caller, 2)
    same(int((await _config(caller, _later(caller)))["max_batch_size"]), 4)
    wrong = caller.call("load_model", _later(caller), config=json.dumps({"backend": "python"}))
    holds(await caller.fails(wrong), "backend")


@CASES.case("load_model, files", ALL)
async def _(caller: Triton) -> None:
    files = {"file:7/model.onnx": caller.tripled}
    await caller.call("load_model", _later(caller), config="{}", files=files)
    same(await caller.call("is_model_ready", _later(caller), "7"), True)
    await _gives(caller, 3)


@CASES.case("unload_model", ALL)
async def _(caller: Triton) -> None:
    await caller.call("unload_model", _later(caller), unload_dependents=True)
    same(await caller.call("is_model_ready", _later(caller)), False)
    holds(await caller.fails(_gives(caller, 2)), "unloaded")
    same((await _index(caller))[_later(caller)], "UNAVAILABLE")


@CASES.case("get_inference_statistics", ALL)
async def _(caller: Triton) -> None:
    async def counted() -> tuple[int, int]:
        (row,) = (await caller.plain("get_inference_statistics", "sums", "1"))["model_stats"]
        same((row["name"], row["version"]), ("sums", "1"))
        return int(row.get("inference_count", 0)), int(row["inference_stats"]["success"].get("count", 0))

    rows, requests = await counted()
    for _ in range(3):
        await caller.call("infer", "sums", caller.pair())

    async def grown() -> bool:
        return await counted() == (rows + 6, requests + 3)

    if not await until(grown):
        raise AssertionError(f"answered {await counted()}, expected {(rows + 6, requests + 3)}")
    everything = await caller.plain("get_inference_statistics")
    same({"sums", "digits"} - {row["name"] for row in everything["model_stats"]}, set())
    holds(await caller.fails(caller.plain("get_inference_statistics", "none")), "unknown model")


@CASES.case("get_trace_settings, update_trace_settings", ALL)
async def _(caller: Triton) -> None:
    def level(told: Any) -> Any:
        return told["trace_level"] if caller.over_http else told["settings"]["trace_level"]["value"]

    for model in (None, "digits"):
        same(level(await caller.plain("get_trace_settings", model)), ["OFF"])
        same(level(await caller.plain("update_trace_settings", model, {"trace_level": ["OFF"]})), ["OFF"])
    wrong = caller.plain("update_trace_settings", None, {"trace_level": ["TIMESTAMPS"]})
    holds(await caller.fails(wrong), "no tracing here")


@CASES.case("get_log_settings, update_log_settings", ALL)
async def _(caller: Triton) -> None:
    def verbose(told: Any) -> int:
        if caller.over_http:
            return int(told["log_verbose_level"])
        return int(told["settings"]["log_verbose_level"].get("uint32_param", 0))

    for level in (1, 0):
        same(verbose(await caller.plain("update_log_settings", {"log_verbose_level": level})), level)

        async def follows(level: int = level) -> bool:
            return verbose(await caller.plain("get_log_settings")) == level

        same(await until(follows), True)
    same(verbose(await caller.plain("update_log_settings", {"log_nonsense": True})), 0)
    holds(await caller.fails(caller.plain("update_log_settings", {"log_file": "/elsewhere"})), "log_file")


@CASES.case("answers as messages", GRPC)
async def _(caller: Triton) -> None:
    same((await caller.call("get_server_metadata", client_timeout=10.0)).name, "changeover")
    same([t.name for t in (await caller.call("get_model_metadata", "digits")).inputs], ["image"])
