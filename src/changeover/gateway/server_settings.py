"""Triton's trace and logging extensions: the settings that its clients read and update. Pure.

Nothing is traced here, so the trace settings stay as they are, and any other value is refused. Of the log settings the
levels count, for the gateways' log; where it goes and how its lines look is decided at the start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from changeover.errors import InvalidRequest
from changeover.protocol.oip import refusal

TRACE: Final[Mapping[str, str | list[str]]] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_mode": "triton",
}
"""The settings of every model, as Triton has them where nothing is traced."""
_LEVELS: Final = {"log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0}
_FIXED: Final = {"log_file": "", "log_format": "default"}
_PLURAL: Final = {"log_warnings": "log_warning", "log_errors": "log_error"}
"""Names of the document by those of the server."""
LOG: Final = (*_LEVELS, *_FIXED, *_PLURAL)
"""Names of the log settings."""
_MOST_VERBOSE: Final = (1 << 32) - 1


def require_untraced(asked: Mapping[str, object]) -> None:
    """Let trace settings pass that ask for what is done anyway; `null` takes a setting back.

    Raises:
        InvalidRequest: `setting_unsupported`.
    """
    for name, value in asked.items():
        if name not in TRACE:
            continue  # see `unknown_settings`
        given = [value] if isinstance(TRACE[name], list) and isinstance(value, str) else value
        if value is not None and given != TRACE[name]:
            raise InvalidRequest(
                f"{name}: there is no tracing here, so it stays {TRACE[name]!r}; the statistics extension and "
                "`changeover top` tell where time goes",
                reason="setting_unsupported",
            )


def log_settings(changed: Mapping[str, bool | int], *, verbose: bool) -> dict[str, Any]:
    """The log settings in force.

    Args:
        changed: what clients have changed.
        verbose: the server was started with `--verbose`.
    """
    return {"log_file": "", **_LEVELS, "log_verbose_level": int(verbose), **changed, "log_format": "default"}


def changed_log_settings(asked: Mapping[str, object]) -> dict[str, bool | int]:
    """The changes that a client asks for.

    Raises:
        InvalidRequest: `setting_unsupported` or `wrong_type`.
    """
    changes: dict[str, bool | int] = {}
    for given, value in asked.items():
        name = _PLURAL.get(given, given)
        if name in _FIXED:
            if value != _FIXED[name]:
                raise InvalidRequest(
                    f"{name}: it stays {_FIXED[name]!r}; the log goes to the server's stderr, a sentence a line",
                    reason="setting_unsupported",
                )
        elif name not in _LEVELS:
            pass  # see `unknown_settings`
        elif name == "log_verbose_level":
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_VERBOSE:
                raise refusal(name, "a whole number >= 0", value)
            changes[name] = value
        elif isinstance(value, bool):
            changes[name] = value
        else:
            raise refusal(name, "true or false", value)
    return changes


def unknown_settings(asked: Mapping[str, object], known: Collection[str]) -> list[str]:
    """A sentence on each setting that there is not: it is passed over, as by Triton, and is likely misspelt."""
    return [f"there is no setting {name[:60]!r}; there are {', '.join(known)}" for name in asked if name not in known]
