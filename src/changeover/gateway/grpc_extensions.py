"""Triton's settings and shared memory over gRPC: messages to what the HTTP port's extensions take, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from changeover.gateway.extensions import Extensions

Values = dict[str, Any]
_COPIED: Final = ("key", "offset", "byte_size")


class ExtensionCalls:
    """The extensions of one gateway, asked in messages.

    Args:
        extensions: what both ports share.

    Attributes:
        handlers: by what the table of methods calls them; they raise as the HTTP port's do.
    """

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions
        self.handlers: Mapping[str, Callable[[Values], Values]] = {
            "config": lambda asked: {"config": extensions.config(asked["name"], asked["version"] or None)},
            "statistics": lambda asked: extensions.statistics(asked["name"], asked["version"] or None),
            "trace": self._trace,
            "logging": self._logging,
            "region_status": self._region_status,
            "region_register": self._region_register,
            "region_unregister": self._region_unregister,
            "cuda_status": self._cuda_status,
            "cuda_register": lambda _: extensions.cuda_register(),
            "cuda_unregister": lambda _: {},
        }

    def _trace(self, asked: Values) -> Values:
        """Settings are lists of texts here; an empty one takes a setting back, as JSON's `null` does."""
        settings = {name: _single(entry["value"]) for name, entry in asked["settings"].items()}
        told = self._extensions.trace(asked["model_name"], settings)
        return {"settings": {name: {"value": _listed(value)} for name, value in told.items()}}

    def _logging(self, asked: Values) -> Values:
        settings = {name: next(iter(entry.values()), None) for name, entry in asked["settings"].items()}
        told = self._extensions.logging(settings)
        return {"settings": {name: {_KINDS[type(value)]: value} for name, value in told.items()}}

    def _region_status(self, asked: Values) -> Values:
        return {"regions": {region["name"]: region for region in self._extensions.regions.status(asked["name"])}}

    def _region_register(self, asked: Values) -> Values:
        self._extensions.regions.register(asked["name"], {name: asked[name] for name in _COPIED})
        return {}

    def _region_unregister(self, asked: Values) -> Values:
        self._extensions.regions.unregister(asked["name"])
        return {}

    def _cuda_status(self, asked: Values) -> Values:
        self._extensions.cuda_status(asked["name"])
        return {"regions": {}}


_KINDS: Final = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _single(values: tuple[str, ...] | list[str]) -> str | list[str] | None:
    """What JSON would have in the place of a list of texts."""
    if not values:
        return None
    return values[0] if len(values) == 1 else list(values)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
