"""Settings of a server: flags, then environment, then `changeover.yaml`, then these defaults.

Standard library only, because the supervisor imports nothing else. Sizes are bytes, times seconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from changeover.errors import InvalidRequest
from changeover.loopback import is_loopback

MIB = 1 << 20
AUTO = "auto"
MODEL_CONTROL = ("none", "explicit", "poll")
WEBHOOK_FORMATS = ("json", "alertmanager")
LOG_FORMATS = ("text", "json")
_ADDRESSES = {
    "alert_webhook": "https://hooks.example.org/changeover",
    "otlp_endpoint": "http://127.0.0.1:4318/v1/traces",
}
_CORES_A_GATEWAY = 3
_MOST_GATEWAYS = 256
_SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


def gateways_for(cores: int) -> int:
    """How many gateways `auto` means: a third of the cores, since the workers and the clients need the others."""
    return min(max(1, cores // _CORES_A_GATEWAY), _MOST_GATEWAYS)


def _auto_gateways() -> int:
    return gateways_for(len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a server can be told at start.

    Attributes:
        repository: folder with `NAME/VERSION/model.onnx`; None serves only what was pushed.
        state_dir: journal, sealed artifacts and the optimised-model cache.
        model_control: what of the repository is served: `none`, what lies there at the start; `explicit`, what calls
            load; `poll`, what lies there, as it changes.
        load_model: names of models that an explicit server loads at the start, with commas between them; `*` for all.
        poll_interval: longest time between two readings of the repository, where the system tells of no change.
        gateways: processes that take requests in; `auto` is settled once, from the cores this process may use.
        drain_deadline: longest time that answering what is in flight may take at shutdown or release; the release of a
            model with sequences has their idle time beside it.
        default_timeout: a request's deadline when its client names none.
        queue_limit: requests a model may have waiting or running in one gateway before it sheds.
        max_queue_delay: longest expected wait in a model's queue before it sheds.
        keep_versions: versions of a model whose sealed files are kept beside what is in use.
        cache_limit: most bytes of optimised graphs kept for later loads.
        verbose: log level `debug` instead of `info`.
        log_format: of log lines: `text`, or `json` for an object a line.
        token_file: who may do what (`changeover.access`); None asks nobody for a token.
        tls_cert: PEM file of the server's certificate chain; with `tls_key` all ports speak TLS.
        tls_client_ca: PEM file of the CA whose client certificates the control port demands.
        insecure: tokens may travel in the clear beyond loopback.
        shared_memory: clients may register shared memory of this machine and have inputs and outputs there.
        custom_ops: folder of libraries with operators that plans may name (`runtime.session.custom_ops`).
        alert_latency: how much slower than the other version, and than its own past, a version may be; 0 for no alert.
        alert_errors: share of requests that may fail.
        alert_memory: share of the control group's, or the machine's, memory that may be in use.
        alert_stuck: seconds that a rollout may stand where nobody has to decide, beyond its step's own.
        alert_anomaly: robust z-score above which latency or errors are an anomaly.
        alert_webhook: address that alerts are sent to; None for none.
        alert_webhook_format: `json`, or `alertmanager` for its API v2.
        otlp_endpoint: address of an OpenTelemetry collector (OTLP over HTTP) that traces are sent to; None for none.
        trace_share: of the requests without a trace of their own, the part that is traced.
        faults: JSON file that makes versions go wrong on purpose (`changeover.controller.faults`), for rehearsals.
    """

    repository: str | None = None
    state_dir: str = ".changeover"
    model_control: str = "poll"
    load_model: str | None = None
    poll_interval: float = 5.0
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    control_port: int = 8002
    gateways: int = field(default_factory=_auto_gateways)
    body_limit: int = 64 * MIB
    queue_limit: int = 1024
    max_queue_delay: float = 1.0
    default_timeout: float = 30.0
    drain_deadline: float = 30.0
    lame_duck: float = 1.0
    settle: float = 0.5
    load_timeout: float = 300.0
    keep_versions: int = 5
    cache_limit: int = 2048 * MIB
    verbose: bool = False
    log_format: str = "text"
    token_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    insecure: bool = False
    shared_memory: bool = False
    custom_ops: str | None = None
    alert_latency: float = 0.5
    alert_errors: float = 0.001
    alert_memory: float = 0.8
    alert_stuck: float = 1800.0
    alert_anomaly: float = 6.0
    alert_webhook: str | None = None
    alert_webhook_format: str = "json"
    otlp_endpoint: str | None = None
    trace_share: float = 0.01
    faults: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the message that starts a process."""
        return asdict(self)

    @property
    def scheme(self) -> str:
        """`https` with a certificate, else `http`."""
        return "http" if self.tls_cert is None else "https"

    @property
    def explicit(self) -> bool:
        """Whether models are loaded and unloaded by calls, and by nothing else."""
        return self.model_control == "explicit"

    @property
    def wanted(self) -> tuple[str, ...]:
        """The models of `load_model`."""
        return tuple(name.strip() for name in (self.load_model or "").split(",") if name.strip())

    @property
    def state(self) -> Path:
        """The state folder as an absolute path."""
        return Path(self.state_dir).absolute()


def from_sources(
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    file: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge the sources; `flags` holds only what the user gave.

    Raises:
        InvalidRequest: a name nobody knows, a value that is no number, or an address that needs access
            control which is not set up (reasons `invalid_setting`, `address_not_loopback`, `token_in_clear`,
            `faults_beyond_loopback`).
    """
    known = {f.name: f for f in fields(Settings)}
    merged: dict[str, Any] = {}
    for name, value in (file or {}).items():
        if name not in known:
            raise InvalidRequest(
                f"changeover.yaml: unknown setting {name!r}; known: {', '.join(known)}",
                reason="invalid_setting",
            )
        merged[name] = value
    for name in known:
        value = environment.get(f"CHANGEOVER_{name.upper()}")
        if value is not None:
            merged[name] = value
    merged.update({k: v for k, v in flags.items() if v is not None})
    default = Settings()
    values: dict[str, Any] = {k: _convert(k, getattr(default, k), v) for k, v in merged.items()}
    return _checked(replace(default, **values))


def _convert(name: str, default: object, value: object) -> object:
    """Bring `value` to the type of `default`; None, as a name without a value in the file, says nothing."""
    if value is None or (name == "gateways" and value == AUTO):
        return default
    if value == "" and (isinstance(default, bool) or name == "load_model"):  # as compose's `${NAME:-}` gives it
        return default
    if isinstance(value, (list, dict)):
        raise _unfit(name, f"{value!r} is not a single value")
    if not str(value).strip():
        raise _unfit(name, "it is empty; leave the setting out for its default")
    if default is None or isinstance(default, str):
        return str(value)
    if isinstance(default, bool):
        if (word := str(value).lower()) not in _SWITCHES:
            raise _unfit(name, f"{value!r} is not yes or no")
        return _SWITCHES[word]
    try:
        number = int(str(value)) if isinstance(default, int) else float(str(value))
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise _unfit(name, f"{value!r} is not {kind}") from None
    if isinstance(number, float) and math.isinf(number):
        raise _unfit(name, f"{value!r} is not a finite number")
    return number


def _unfit(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"setting {name}: {what}", reason="invalid_setting")


def _checked(settings: Settings) -> Settings:
    for name in ("http_port", "grpc_port", "control_port"):
        if not 0 <= getattr(settings, name) <= 65535:
            raise InvalidRequest(f"setting {name}: {getattr(settings, name)} is not a port", reason="invalid_setting")
    if settings.gateways < 1:
        raise InvalidRequest(
            f"setting gateways: {settings.gateways} gateways serve nobody; give 1 or more, or auto",
            reason="invalid_setting",
        )
    if settings.gateways > _MOST_GATEWAYS:  # each is a process: so many would take the machine from everybody
        raise InvalidRequest(
            f"setting gateways: {settings.gateways} is over the limit of {_MOST_GATEWAYS}; one a few cores is enough",
            reason="invalid_setting",
        )
    for name in ("keep_versions", "cache_limit", "drain_deadline", "lame_duck", "settle"):
        if not getattr(settings, name) >= 0:  # NaN neither
            raise InvalidRequest(f"setting {name}: give 0 or more", reason="invalid_setting")
    for name in ("body_limit", "queue_limit", "max_queue_delay", "default_timeout", "load_timeout"):
        if not getattr(settings, name) > 0:
            raise InvalidRequest(f"setting {name}: give more than 0", reason="invalid_setting")
    _check_model_control(settings)
    _check_alerts(settings)
    _check_access(settings)
    return settings


def _check_model_control(settings: Settings) -> None:
    if settings.model_control not in MODEL_CONTROL:
        raise InvalidRequest(
            f"setting model_control: {settings.model_control!r} is none of {', '.join(MODEL_CONTROL)}",
            reason="invalid_setting",
        )
    if settings.load_model is not None and settings.model_control != "explicit":
        raise InvalidRequest(
            "setting load_model: it needs model_control explicit; otherwise the repository is served anyway",
            reason="invalid_setting",
        )
    if not settings.poll_interval > 0:
        raise InvalidRequest("setting poll_interval: give more than 0 seconds", reason="invalid_setting")


def _check_alerts(settings: Settings) -> None:
    for name in ("alert_latency", "alert_errors", "alert_memory", "alert_stuck", "alert_anomaly"):
        if not getattr(settings, name) >= 0:
            raise InvalidRequest(f"setting {name}: give 0 or more; 0 for no such alert", reason="invalid_setting")
    for name, known in (("alert_webhook_format", WEBHOOK_FORMATS), ("log_format", LOG_FORMATS)):
        if getattr(settings, name) not in known:
            raise InvalidRequest(
                f"setting {name}: {getattr(settings, name)!r} is none of {', '.join(known)}", reason="invalid_setting"
            )
    if not 0 <= settings.trace_share <= 1:
        raise InvalidRequest("setting trace_share: give 0 to 1", reason="invalid_setting")
    for name, example in _ADDRESSES.items():
        address = getattr(settings, name)
        if address is not None and not _is_address(address):
            raise InvalidRequest(f"setting {name}: give an address such as {example}", reason="invalid_setting")


def _is_address(text: str) -> bool:
    """Whether it is an http or https URL in plain ASCII, without a space or a name and password."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and named and parts.scheme in ("http", "https") and parts.username is None


def _check_access(settings: Settings) -> None:
    """Refuse to be open to others than this machine, by accident or by half a configuration."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InvalidRequest("settings tls_cert and tls_key: give both, or neither", reason="invalid_setting")
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise InvalidRequest("setting tls_client_ca: it needs tls_cert and tls_key", reason="invalid_setting")
    if is_loopback(settings.host):
        return
    if settings.faults is not None:
        raise InvalidRequest(
            f"refusing to inject faults on {settings.host}: --faults is for rehearsals on loopback addresses only",
            reason="faults_beyond_loopback",
        )
    if settings.token_file is None and settings.tls_client_ca is None:
        raise InvalidRequest(
            f"refusing to listen on {settings.host}: anybody who reaches it could replace models. Give a --token-file, "
            "or --tls-cert, --tls-key and --tls-client-ca for client certificates, or use --host 127.0.0.1",
            reason="address_not_loopback",
        )
    if settings.tls_cert is None and not settings.insecure:
        raise InvalidRequest(
            f"refusing to take tokens in the clear on {settings.host}: give --tls-cert and --tls-key, or --insecure "
            "where something in front encrypts, or the network is nobody else's",
            reason="token_in_clear",
        )
