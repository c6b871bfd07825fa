"""A version that wants to serve, and the plan that counts for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from changeover.errors import InvalidPlan
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import PLAN_FILE
from changeover.records.certificate import VersionRef
from changeover.rollout.plan import Plan, parse_plan
from changeover.settings import Settings


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

    Raises:
        InvalidPlan: of the file that counts; it cannot be read.
    """
    places = [artifact.folder / PLAN_FILE]
    if settings.repository is not None:
        places.append(Path(settings.repository) / model / PLAN_FILE)
    for place in places:
        try:
            text = place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidPlan(f"{place} cannot be read ({error.strerror})", reason="invalid_plan") from None
        return _parsed(text, place.name)
    return Plan()


@lru_cache(64)
def _parsed(text: bytes, name: str) -> Plan:
    """Most versions of a model come with the same plan."""
    return parse_plan(text, name)
