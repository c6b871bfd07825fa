"""What a load says of the version that is to serve: Triton's parameters `config` and `file:VERSION/NAME` (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from changeover.controller.model_config import plan_of_config
from changeover.errors import InvalidRequest
from changeover.lifecycle.source import version_number

_FILE: Final = "file:"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What counts instead of what lies in the repository.

    Attributes:
        version: the number that is wanted; None takes the highest.
        files: all files of that version, by their names in its folder; none: what lies in the repository.
        plan: fields of a plan that count over the model's own.
        ignored: sentences on what has no effect here.
    """

    version: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


NOTHING: Final = Overrides()


def overrides_of(model: str, parameters: Mapping[str, object]) -> Overrides:
    """The overrides that a call's parameters make.

    Args:
        model: that is to be loaded.
        parameters: `config` as JSON text, files as bytes.

    Raises:
        InvalidRequest: a parameter is unknown or wrong (`invalid_parameter`), or of the config (`invalid_config`).
    """
    config: dict[str, Any] = {}
    files: dict[int, dict[str, bytes]] = {}
    for name, value in parameters.items():
        if name == "config" and isinstance(value, str):
            config = _read(value)
        elif name.startswith(_FILE) and isinstance(value, bytes):
            version, file = _place(name)
            files.setdefault(version, {})[file] = value
        else:
            raise InvalidRequest(
                f"parameter {name!r}: a load takes `config`, a JSON text, and `file:VERSION/NAME`, a file",
                reason="invalid_parameter",
            )
    asked = plan_of_config(model, config)
    return _chosen(asked.version, asked.plan, asked.ignored, files)


def _chosen(
    version: int | None, plan: Mapping[str, Any], ignored: tuple[str, ...], files: Mapping[int, Mapping[str, bytes]]
) -> Overrides:
    if not files:
        return Overrides(version, {}, plan, ignored)
    number = max(files) if version is None else version
    if number not in files:
        raise InvalidRequest(
            f"the config wants version {number}, and the files are of {sorted(files)}", reason="invalid_config"
        )
    left = sorted(files.keys() - {number})
    told = (f"files of version {', '.join(map(str, left))}: one version serves, {number}",) if left else ()
    return Overrides(number, files[number], plan, ignored + told)


def _place(name: str) -> tuple[int, str]:
    version, _, file = name.removeprefix(_FILE).partition("/")
    number = version_number(version)
    if number is None or number >= 2**31 or not file:
        raise InvalidRequest(
            f"parameter {name!r}: a file is `file:VERSION/NAME`, such as `file:1/model.onnx`",
            reason="invalid_parameter",
        )
    return number, file


def _read(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequest(
            f"config: not the JSON of a model configuration: {error}", reason="invalid_config"
        ) from None
