"""`changeover serve`: run the server."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from changeover.cli.exits import Usage
from changeover.cli.options import grouped
from changeover.errors import InvalidRequest

if TYPE_CHECKING:
    from changeover.settings import Settings

_CONFIG = Path("changeover.yaml")


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says of the settings, by their names; None where it says nothing."""

    repository: Annotated[
        str | None,
        typer.Argument(metavar="[REPOSITORY]", help="Folder with NAME/VERSION/model.onnx; none: only what is pushed."),
    ] = None
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None
    http_port: Annotated[int | None, typer.Option(metavar="PORT", help="Inference (default 8000).")] = None
    grpc_port: Annotated[int | None, typer.Option(metavar="PORT", help="The same over gRPC (default 8001).")] = None
    control_port: Annotated[int | None, typer.Option(metavar="PORT", help="Control API (default 8002).")] = None
    state_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Journal and sealed models (default .changeover).")
    ] = None
    gateways: Annotated[
        str | None, typer.Option(metavar="N", help="Gateway processes, or auto: a third of the cores (default auto).")
    ] = None
    model_control: Annotated[
        str | None,
        typer.Option(metavar="none|explicit|poll", help="What of the repository is served, and when (default poll)."),
    ] = None
    load_model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With explicit: load this model at the start, * for all; may be repeated."),
    ] = None
    poll_interval: Annotated[
        float | None, typer.Option(metavar="S", help="With poll: seconds between two looks at most (default 5).")
    ] = None
    verbose: Annotated[bool | None, typer.Option("--verbose", help="Log more.")] = None
    log_format: Annotated[
        str | None, typer.Option(metavar="text|json", help="Form of the log's lines (default text).")
    ] = None
    alert_webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Send alerts there, as JSON or as alert_webhook_format says.")
    ] = None
    otlp_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Send traces there by OTLP over HTTP (needs the extra otel).")
    ] = None
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Who may do what: SCOPE[,SCOPE] TOKEN [NAME] a line.")
    ] = None
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="The server's certificate chain, PEM.")] = None
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None
    tls_client_ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="CA of client certificates; the control port demands one.")
    ] = None
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Let tokens travel in the clear beyond loopback.")
    ] = None
    shared_memory: Annotated[
        bool | None, typer.Option("--shared-memory", help="Let clients of this machine share memory (/dev/shm).")
    ] = None
    custom_ops: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of custom-op libraries that plans may name; no others.")
    ] = None
    faults: Annotated[
        str | None, typer.Option(metavar="FILE", help="For rehearsals on loopback: make versions go wrong on purpose.")
    ] = None


@grouped
def serve(
    flags: Flags,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Settings file (default ./changeover.yaml).")
    ] = None,
) -> int:
    """Serve the models of a repository and replace them under load.

    Flags win over the environment (CHANGEOVER_HTTP_PORT and so on), which wins over changeover.yaml.

    For example:

        changeover serve models/

        changeover serve models/ --http-port 9000 --grpc-port 9001 --control-port 9002 --state-dir /var/lib/changeover

        changeover serve models/ --host 0.0.0.0 --token-file tokens --tls-cert server.pem --tls-key server.key
    """
    named = ",".join(flags.load_model) if flags.load_model else None
    settings = _settings(asdict(flags) | {"load_model": named}, config)
    os.environ.pop("CHANGEOVER_TOKEN", None)  # a client's: no process of the server has a use for it
    sys.stdout.flush()
    command = [sys.executable, "-m", "changeover.supervisor", json.dumps(settings.to_dict())]
    os.execv(sys.executable, command)  # noqa: S606 - the parent of all holds nothing but the standard library


def configured() -> Settings:
    """Return the settings that a server started here would have without any flag.

    Raises:
        Usage: changeover.yaml or the environment holds what is no setting.
    """
    return _merged({}, None)


def _settings(flags: dict[str, Any], config: Path | None) -> Settings:
    """Return the settings of a server that can start: what they name is there, and can be read.

    Raises:
        Usage: it cannot start, and the sentence says why.
    """
    settings = _merged(flags, config)
    try:
        _check_files(settings)
    except InvalidRequest as error:
        raise Usage(error.message) from None
    if settings.repository is not None and not Path(settings.repository).is_dir():
        raise Usage(f"the repository {settings.repository} is no folder; make it, or name another")
    return settings


def _merged(flags: dict[str, Any], config: Path | None) -> Settings:
    from changeover.settings import from_sources

    try:
        return from_sources(flags, os.environ, _read_config(config))
    except InvalidRequest as error:
        raise Usage(error.message) from None


def _check_files(settings: Settings) -> None:
    """Read once what gateways and controller will read, so that a mistake is told before anything starts.

    Raises:
        InvalidRequest: the token file, certificate, key, client CA, file of faults or folder of libraries cannot be
            used, or a package is missing.
    """
    from importlib.util import find_spec

    from changeover.access import read_tokens
    from changeover.controller.faults import read_faults
    from changeover.tls import context_of

    if settings.token_file is not None:
        read_tokens(settings.token_file)
    if settings.otlp_endpoint is not None and find_spec("opentelemetry") is None:
        raise InvalidRequest(
            "setting otlp_endpoint: traces need `pip install changeover[otel]`", reason="invalid_setting"
        )
    read_faults(settings.faults)
    _check_custom_ops(settings)
    context_of(settings.tls_cert, settings.tls_key, settings.tls_client_ca, demand=True)


def _check_custom_ops(settings: Settings) -> None:
    """Refuse a folder of libraries that is none, or into which models are put: their native code would be loaded."""
    if settings.custom_ops is None:
        return
    folder = Path(settings.custom_ops).resolve()
    if not folder.is_dir():
        raise InvalidRequest(f"setting custom_ops: {settings.custom_ops} is no folder", reason="invalid_setting")
    for name, place in (("repository", settings.repository), ("state folder", settings.state_dir)):
        if place is not None and folder.is_relative_to(Path(place).resolve()):
            raise InvalidRequest(
                f"setting custom_ops: {settings.custom_ops} is in the {name}; libraries lie where no model is put",
                reason="invalid_setting",
            )


def _read_config(file: Path | None) -> dict[str, Any] | None:
    """Return the settings of the file, or of ./changeover.yaml where there is one."""
    if file is None and not _CONFIG.is_file():
        return None
    path = file or _CONFIG
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Usage(f"{path} cannot be read: {error}") from None
    if found is not None and not isinstance(found, dict):
        raise Usage(f"{path} must hold names and values, such as `http_port: 8000`")
    return found
