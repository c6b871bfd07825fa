"""Trace and log settings: what can be changed, and what is refused."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidRequest
from changeover.gateway.server_settings import (
    LOG,
    TRACE,
    changed_log_settings,
    log_settings,
    require_untraced,
    unknown_settings,
)


@pytest.mark.parametrize(
    "asked",
    [{}, dict(TRACE), {"trace_level": "OFF"}, {"trace_level": None, "trace_file": None}, {"trace_rate": "1000"}],
)
def test_what_is_done_anyway_passes(asked: dict[str, object]) -> None:
    """The settings in force, and taking one back."""
    require_untraced(asked)
    with pytest.raises(InvalidRequest):
        require_untraced({**asked, "trace_level": ["TIMESTAMPS"]})


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"trace_level": ["TIMESTAMPS"]}, "setting_unsupported"),
        ({"trace_rate": "1"}, "setting_unsupported"),
        ({"trace_file": "elsewhere"}, "setting_unsupported"),
    ],
)
def test_tracing_is_refused(asked: dict[str, object], reason: str) -> None:
    """With a sentence that says so."""
    with pytest.raises(InvalidRequest) as refused:
        require_untraced(asked)
    assert refused.value.reason == reason


def test_log_levels_are_changed_one_by_one() -> None:
    """Under both spellings of Triton's document; the answer has its server's."""
    changes = changed_log_settings({"log_warnings": False, "log_error": True, "log_verbose_level": 2, "log_file": ""})
    assert changes == {"log_warning": False, "log_error": True, "log_verbose_level": 2}
    told = log_settings(changes, verbose=False)
    assert told == {
        "log_file": "",
        "log_info": True,
        "log_warning": False,
        "log_error": True,
        "log_verbose_level": 2,
        "log_format": "default",
    }
    assert log_settings({}, verbose=True)["log_verbose_level"] == 1


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"log_file": "elsewhere"}, "setting_unsupported"),
        ({"log_format": "ISO8601"}, "setting_unsupported"),
        ({"log_info": 1}, "wrong_type"),
        ({"log_verbose_level": True}, "wrong_type"),
        ({"log_verbose_level": -1}, "wrong_type"),
    ],
)
def test_what_cannot_be_changed_is_refused(asked: dict[str, object], reason: str) -> None:
    """Where the log goes, how it looks, other types."""
    with pytest.raises(InvalidRequest) as refused:
        changed_log_settings(asked)
    assert refused.value.reason == reason


def test_settings_that_there_are_not_are_passed_over_and_named() -> None:
    """As by Triton, whose clients may be newer; those beside them count."""
    require_untraced({"tracelevel": ["TIMESTAMPS"], "trace_level": ["OFF"]})
    assert changed_log_settings({"loginfo": 5, "log_info": False}) == {"log_info": False}
    (sentence,) = unknown_settings({"loginfo": 5, "log_info": False, "log_errors": True}, LOG)
    assert "'loginfo'" in sentence
    assert "log_verbose_level" in sentence
