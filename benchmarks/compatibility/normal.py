"""Leaves out of an answer what cannot be the same on two servers: names, times, counts of nanoseconds."""

from __future__ import annotations

from typing import Any

_OF_SERVER = ("name", "version")
_PLATFORMS = ("platform", "backend", "default_model_filename", "runtime")


def normal(where: str, told: Any) -> Any:
    """An answer without what must differ; `where` is its path, or its method."""
    if where in ("/v2", "/v2/", "ServerMetadata"):
        return {**told, **dict.fromkeys(_OF_SERVER, "…")}
    if where.endswith("/stats") or where == "ModelStatistics":
        return _timeless(told)
    if where.startswith("/v2/repository/index") or where == "RepositoryIndex":
        return _sorted(told)
    if isinstance(told, dict):
        told = {k: v for k, v in told.items() if k not in _PLATFORMS}
        if isinstance(told.get("config"), dict):
            told["config"] = normal("", told["config"])
    return told


def _timeless(told: Any) -> Any:
    """Times are there, whatever they are."""
    if isinstance(told, dict):
        return {k: "…" if k in ("ns", "last_inference") else _timeless(v) for k, v in told.items()}
    return [_timeless(v) for v in told] if isinstance(told, list) else told


def _sorted(told: Any) -> Any:
    """An index has no order."""
    if isinstance(told, dict):
        return {k: _sorted(v) for k, v in told.items()}
    return sorted(told, key=lambda row: (row["name"], row.get("version", ""))) if isinstance(told, list) else told
