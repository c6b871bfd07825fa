"""What Triton's protocol has beyond the standard: for both ports, with a handler for each endpoint of `http.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from changeover.errors import InvalidRequest, NotFound
from changeover.gateway.answers import json_answer, json_body, warnings
from changeover.gateway.catalogue import known, target_of
from changeover.gateway.common import Common
from changeover.gateway.model_config import model_config
from changeover.gateway.models import Models
from changeover.gateway.router import Target
from changeover.gateway.server_settings import (
    LOG,
    TRACE,
    changed_log_settings,
    log_settings,
    require_untraced,
    unknown_settings,
)
from changeover.gateway.shared_memory import Regions
from changeover.gateway.statistics import Ledgers, model_stats
from changeover.telemetry import logs

if TYPE_CHECKING:
    from changeover.gateway.door.request import HttpRequest
    from changeover.gateway.http import Route

Handler = Callable[["HttpRequest", "Route"], None]


class Extensions:
    """The extensions of one gateway.

    Args:
        models: what it serves.
        common: what all gateways know.
        regions: of shared memory.
        place: this gateway's index among them.
        verbose: the server was started so.
    """

    def __init__(self, models: Models, common: Common, regions: Regions, place: int, *, verbose: bool = False) -> None:
        self._models = models
        self._common = common
        self.regions = regions
        self._verbose = verbose
        self._logged: dict[str, bool | int] = {}
        self.names = ["logging", "model_configuration", "statistics", "trace"]
        if regions.enabled:
            self.names.append("system_shared_memory")
        self.ledgers = Ledgers(models, common.board, place)
        self.handlers: Mapping[str, Handler] = {
            "statistics": lambda request, found: json_answer(request, self.statistics(found.model, found.version)),
            "all_statistics": lambda request, _: json_answer(request, self.statistics("", None)),
            "config": lambda request, found: json_answer(request, self.config(found.model, found.version)),
            "trace": self._trace,
            "logging": self._logging,
            "region_status": lambda request, found: json_answer(request, regions.status(found.region)),
            "region_register": self._register,
            "region_unregister": self._unregister,
            "cuda_status": lambda request, found: json_answer(request, self.cuda_status(found.region)),
            "cuda_register": lambda request, _: json_answer(request, self.cuda_register()),
            "cuda_unregister": lambda request, _: request.respond(200, b"", []),
        }

    def tell(self) -> None:
        """Let the other gateways know what is new, and hear of them; called every quarter of a second."""
        self.ledgers.tell()
        self._follow()
        self.regions.follow()

    def _follow(self) -> None:
        """Do what clients have told other gateways."""
        changed = self._common.known.log
        if changed != self._logged:
            self._logged = changed
            log = log_settings(changed, verbose=self._verbose)
            logs.let_through({name: log[f"log_{name}"] for name in logs.LEVELS}, verbose=log["log_verbose_level"] > 0)

    def statistics(self, name: str, version: str | None) -> dict[str, Any]:
        """What was counted of a model's versions, or of one of them; of all models without a name.

        Raises:
            NotFound: no such model, or no such version of it serves.
        """
        if not name:
            in_force = [(n, m) for n, m in sorted(self._models.by_name.items()) if m.in_force]
            return model_stats(self.ledgers, [(n, _in_order(m.current().targets.values())) for n, m in in_force])
        model = known(self._models, name)
        if version is not None:
            return model_stats(self.ledgers, [(name, [target_of(self._models, name, version)])])
        return model_stats(self.ledgers, [(name, _in_order(model.refresh().targets.values()))])

    def config(self, name: str, version: str | None) -> dict[str, Any]:
        """The configuration of a version, or of the active one; raises as `statistics`."""
        target = target_of(self._models, name, version)
        return model_config(name, target.entry, target.batcher.instances)

    def trace(self, name: str, changes: Mapping[str, object]) -> Mapping[str, str | list[str]]:
        """The trace settings of a model, or of all without a name, once they were asked to change.

        Raises:
            NotFound: no such model.
            InvalidRequest: they cannot be changed like that, see `require_untraced`.
        """
        if name:
            known(self._models, name)
        require_untraced(changes)
        return TRACE

    def logging(self, asked: Mapping[str, object]) -> dict[str, Any]:
        """The log settings, once they were changed as asked.

        Raises:
            InvalidRequest: they cannot be, see `changed_log_settings`.
        """
        changes = changed_log_settings(asked)
        if changes:
            self._common.change(lambda now: msgspec.structs.replace(now, log={**now.log, **changes}))
            self._follow()
        return log_settings(self._common.known.log, verbose=self._verbose)

    def cuda_register(self) -> dict[str, Any]:
        """Refuse a region of a GPU's memory.

        Raises:
            InvalidRequest: always (`cuda_shared_memory_unsupported`).
        """
        raise InvalidRequest(
            "memory of a GPU cannot be shared with this server: use system shared memory, or send the data",
            reason="cuda_shared_memory_unsupported",
        )

    def cuda_status(self, name: str) -> list[dict[str, Any]]:
        """The regions of GPUs' memory: none.

        Raises:
            NotFound: one was named.
        """
        if name:
            raise NotFound(f"no region {name[:60]!r} is registered", reason="shared_memory_unknown")
        return []

    def _trace(self, request: HttpRequest, found: Route) -> None:
        changes = _changes(request)
        json_answer(request, self.trace(found.model, changes), head=warnings(unknown_settings(changes, TRACE)))

    def _logging(self, request: HttpRequest, _: Route) -> None:
        changes = _changes(request)
        json_answer(request, self.logging(changes), head=warnings(unknown_settings(changes, LOG)))

    def _register(self, request: HttpRequest, found: Route) -> None:
        self.regions.register(found.region, json_body(request))
        request.respond(200, b"", [])

    def _unregister(self, request: HttpRequest, found: Route) -> None:
        self.regions.unregister(found.region)
        request.respond(200, b"", [])


def _changes(request: HttpRequest) -> Mapping[str, object]:
    """What a request wants changed; nothing, if it only reads."""
    return json_body(request) if request.method == "POST" else {}


def _in_order(targets: Iterable[Target]) -> list[Target]:
    """By the numbers of their versions."""
    return sorted(targets, key=lambda t: (len(t.version), t.version, t.loading))
