"""Settings: where they come from, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.errors import InvalidRequest
from changeover.settings import Settings, from_sources, gateways_for


def test_flags_win_over_environment_over_file_over_defaults() -> None:
    """Each source only for what it names."""
    file = {"http_port": 1, "control_port": 2, "settle": 3, "queue_limit": 4}
    environment = {"CHANGEOVER_HTTP_PORT": "5", "CHANGEOVER_CONTROL_PORT": "6", "OTHER": "7"}
    found = from_sources({"http_port": 8, "settle": None}, environment, file)
    assert (found.http_port, found.control_port, found.settle, found.queue_limit) == (8, 6, 3.0, 4)
    assert found.body_limit == Settings().body_limit


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("verbose", "yes", True),
        ("verbose", "0", False),
        ("lame_duck", "0.25", 0.25),
        ("body_limit", "1000", 1000),
        ("repository", "/models", "/models"),
        ("gateways", "7", 7),
    ],
)
def test_texts_become_the_settings_type(name: str, text: str, value: object) -> None:
    """Whatever the environment holds is text."""
    found = getattr(from_sources({}, {f"CHANGEOVER_{name.upper()}": text}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"http_port": "eighty"}, "invalid_setting"),
        ({"http_port": 70_000}, "invalid_setting"),
        ({"control_port": -1}, "invalid_setting"),
        ({"settle": "soon"}, "invalid_setting"),
        ({"keep_versions": -1}, "invalid_setting"),
        ({"settle": "nan"}, "invalid_setting"),
        ({"max_queue_delay": -1}, "invalid_setting"),
        ({"queue_limit": 0}, "invalid_setting"),
        ({"cache_limit": "-1"}, "invalid_setting"),
        ({"model_control": "always"}, "invalid_setting"),
        ({"verbose": "maybe"}, "invalid_setting"),
        ({"repository": ""}, "invalid_setting"),
        ({"state_dir": " "}, "invalid_setting"),
        ({"token_file": ""}, "invalid_setting"),
        ({"load_model": ["a", "b"], "model_control": "explicit"}, "invalid_setting"),
        ({"host": {"a": 1}}, "invalid_setting"),
        ({"default_timeout": "inf"}, "invalid_setting"),
        ({"body_limit": "64MiB"}, "invalid_setting"),
        ({"load_model": "m"}, "invalid_setting"),
        ({"load_model": "m", "model_control": "none"}, "invalid_setting"),
        ({"poll_interval": 0}, "invalid_setting"),
        ({"poll_interval": "nan"}, "invalid_setting"),
        ({"gateways": 0}, "invalid_setting"),
        ({"log_format": "xml"}, "invalid_setting"),
        ({"alert_errors": -0.1}, "invalid_setting"),
        ({"alert_latency": "nan"}, "invalid_setting"),
        ({"alert_webhook_format": "xml"}, "invalid_setting"),
        ({"alert_webhook": "hooks.example.org"}, "invalid_setting"),
        ({"otlp_endpoint": "collector:4317"}, "invalid_setting"),
        ({"trace_share": 1.5}, "invalid_setting"),
        ({"alert_webhook": "ftp://hooks.example.org"}, "invalid_setting"),
        ({"alert_webhook": "http://"}, "invalid_setting"),
        ({"alert_webhook": "http://h:x/"}, "invalid_setting"),
        ({"alert_webhook": "http://name:word@h/"}, "invalid_setting"),
        ({"alert_webhook": "http://h/a b"}, "invalid_setting"),
        ({"alert_webhook": "http://h/\r\nx: y"}, "invalid_setting"),
        ({"gateways": "-1"}, "invalid_setting"),
        ({"gateways": 257}, "invalid_setting"),
        ({"gateways": "many"}, "invalid_setting"),
        ({"host": "0.0.0.0"}, "address_not_loopback"),  # noqa: S104 - refused
        ({"host": "192.168.0.7"}, "address_not_loopback"),
        ({"host": "::"}, "address_not_loopback"),
        ({"host": "example.org"}, "address_not_loopback"),
        ({"host": "10.0.0.1", "insecure": True}, "address_not_loopback"),
        ({"host": "10.0.0.1", "tls_cert": "c", "tls_key": "k"}, "address_not_loopback"),
        ({"host": "10.0.0.1", "token_file": "t"}, "token_in_clear"),
        ({"tls_cert": "c"}, "invalid_setting"),
        ({"tls_key": "k"}, "invalid_setting"),
        ({"tls_client_ca": "a"}, "invalid_setting"),
        ({"host": "10.0.0.1", "token_file": "t", "insecure": True, "faults": "f"}, "faults_beyond_loopback"),
        ({"host": "10.0.0.1", "tls_cert": "c", "tls_key": "k", "faults": "f"}, "faults_beyond_loopback"),
    ],
)
def test_what_cannot_be_is_refused(flags: dict[str, Any], reason: str) -> None:
    """With a sentence that says what to do."""
    with pytest.raises(InvalidRequest) as refused:
        from_sources(flags, {})
    assert refused.value.reason == reason
    assert len(refused.value.message) > 20


def test_a_name_without_a_value_says_nothing() -> None:
    """`host:` alone in the file is null, and the default counts."""
    assert from_sources({}, {}, {"host": None, "state_dir": None, "http_port": None, "verbose": None}) == Settings()


def test_an_empty_switch_is_off() -> None:
    """As `${CHANGEOVER_VERBOSE:-}` of a compose file gives it, and so names no model to load; an empty path is told."""
    names = ("VERBOSE", "INSECURE", "SHARED_MEMORY", "LOAD_MODEL")
    assert from_sources({}, {f"CHANGEOVER_{name}": "" for name in names}) == Settings()
    found = from_sources({"model_control": "explicit"}, {"CHANGEOVER_LOAD_MODEL": ""})
    assert found.wanted == ()
    with pytest.raises(InvalidRequest, match="setting token_file: it is empty; leave"):
        from_sources({}, {"CHANGEOVER_TOKEN_FILE": ""})


@pytest.mark.parametrize(
    "access",
    [
        {"token_file": "t", "insecure": True},
        {"token_file": "t", "tls_cert": "c", "tls_key": "k"},
        {"tls_cert": "c", "tls_key": "k", "tls_client_ca": "a"},
    ],
)
def test_other_addresses_are_allowed_with_access_control(access: dict[str, Any]) -> None:
    """A token over TLS, a token in the clear that was asked for by name, or client certificates."""
    found = from_sources({"host": "10.0.0.1", **access}, {})
    assert found.host == "10.0.0.1"
    assert found.scheme == ("https" if "tls_cert" in access else "http")


def test_access_is_set_by_the_environment_too() -> None:
    """By the same names."""
    environment = {"CHANGEOVER_TOKEN_FILE": "t", "CHANGEOVER_INSECURE": "1", "CHANGEOVER_HOST": "::"}
    found = from_sources({}, environment)
    assert (found.token_file, found.insecure, found.host) == ("t", True, "::")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_has_many_names(host: str) -> None:
    """All of them are allowed."""
    assert from_sources({"host": host}, {}).host == host


def test_an_unknown_name_in_the_file_is_told() -> None:
    """A misspelt setting must not be silently without effect; the known ones are listed."""
    with pytest.raises(InvalidRequest, match=r"(?s)htp_port.*http_port"):
        from_sources({}, {}, {"htp_port": 1})


def test_settings_travel_as_plain_values() -> None:
    """The dictionary a process is started with makes equal settings."""
    settings = Settings(http_port=0, repository="models")
    assert Settings(**settings.to_dict()) == settings
    assert settings.state.is_absolute()


@pytest.mark.parametrize(("cores", "gateways"), [(1, 1), (2, 1), (5, 1), (6, 2), (9, 3), (64, 21), (5000, 256)])
def test_auto_gives_the_gateways_a_third_of_the_cores(cores: int, gateways: int) -> None:
    """And never none, nor more than there may be."""
    assert gateways_for(cores) == gateways


def test_auto_is_settled_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source may say it, it is the default, and the processes are told a number."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    for flags, environment, file in (
        ({}, {}, {}),
        ({"gateways": "auto"}, {"CHANGEOVER_GATEWAYS": "2"}, {}),
        ({}, {"CHANGEOVER_GATEWAYS": "auto"}, {"gateways": 2}),
        ({}, {}, {"gateways": "auto"}),
    ):
        assert from_sources(flags, environment, file).to_dict()["gateways"] == 4


def test_an_explicit_server_names_what_it_loads_at_the_start() -> None:
    """With commas between the names; nothing is named where nothing is said."""
    found = from_sources({"model_control": "explicit", "load_model": "a, b,,c"}, {})
    assert (found.explicit, found.wanted) == (True, ("a", "b", "c"))
    assert (Settings().model_control, Settings().explicit, Settings().wanted) == ("poll", False, ())
