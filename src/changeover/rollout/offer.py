"""A version that wants to serve, and the plan that counts for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from changeover.errors import InvalidPlan
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import CONFIG_FILE, PLAN_FILE
from changeover.records.certificate import VersionRef
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.triton_config import understood
from changeover.settings import Settings

_MOST_BYTES = 1 << 20
log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Offer:
    """A sealed version that wants to serve; `source` tells where it came from (repository, push, restart)."""

    version: int
    artifact: Artifact
    plan: Plan
    source: str

    @property
    def ref(self) -> VersionRef:
        """Number and digest."""
        return VersionRef(self.version, self.artifact.digest)


def plan_for(artifact: Artifact, model: str, settings: Settings) -> Plan:
    """The plan that came with a version, else the model's in the repository, else the defaults.

    A `config.pbtxt` is looked for in the same places; what it says counts where the plan says nothing.

    Raises:
        InvalidPlan: of the file that counts; it cannot be read.
    """
    folders = [artifact.folder]
    if settings.repository is not None:
        folders.append(Path(settings.repository) / model)
    plan = _first(folders, PLAN_FILE) or b""
    return _parsed(plan, PLAN_FILE, config_in(folders), model)


def named_versions(model: str, settings: Settings) -> tuple[int, ...] | None:
    """The versions that the version policy beside a model in the repository names; None where all may serve.

    Raises:
        InvalidPlan: of the file; it cannot be read.
    """
    if settings.repository is None:
        return None
    config = config_in([Path(settings.repository) / model])
    return None if config is None else understood(config).versions


def config_in(folders: Iterable[Path]) -> bytes | None:
    """The text of the `config.pbtxt` in the first of these folders that has one.

    Raises:
        InvalidPlan: it cannot be read.
    """
    return _first(folders, CONFIG_FILE)


def _first(folders: Iterable[Path], name: str) -> bytes | None:
    for folder in folders:
        place = folder / name
        try:
            with place.open("rb") as file:
                return file.read(_MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidPlan(f"{place} cannot be read ({error.strerror})", reason="invalid_plan") from None
    return None


@lru_cache(64)
def _parsed(text: bytes, name: str, config: bytes | None, model: str) -> Plan:
    """Most versions of a model come with the same plan."""
    if config is None:
        return parse_plan(text, name)
    found = understood(config)
    for remark in found.remarks:
        log.warning("%s: %s %s", model, CONFIG_FILE, remark)
    return parse_plan(text, name, found.plan)
