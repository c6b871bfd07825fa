"""What may be removed (pure): sealed artifacts that nobody can need any more, and cached graphs over the limit.

The folder of artifacts is the only truth about what can serve: the journal tells history, and whatever it says of a
version, the version is there when its artifact is. So nothing has to be removed in two places at once, and a removal
that a crash cuts short leaves no claim behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from changeover.records.versions import VersionUse


@dataclass(frozen=True, slots=True)
class Graph:
    """An entry of the optimised-graph cache, or weights that entries name.

    Attributes:
        name: of its file, without the suffix.
        size: bytes on disk.
        used_ns: when it was last written or taken.
    """

    name: str
    size: int
    used_ns: int


def expendable(uses: Iterable[VersionUse], present: Collection[str], in_use: Collection[str], keep: int) -> list[str]:
    """Digests of artifacts that may go.

    Each model keeps what is in use and, counted with that, the `keep` versions that served last; apart from these, of
    what was refused, taken back or never tried, the `keep` with the highest numbers: the moment at which they were
    recorded says little, since a first start takes the folders of a repository from the highest number down. What no
    version is known for may go, too: a push that was cut short left it.

    Args:
        uses: of all models.
        present: digests of all sealed artifacts.
        in_use: digests that somebody needs now, or may need by a decision already taken.
        keep: `keep_versions`; 0 keeps only what is in use.
    """
    kept = set(in_use)
    key = _model_and_kind
    for _, group in groupby(sorted(uses, key=key), key=key):
        first = sorted(group, key=lambda use: (use.digest in in_use, *_rank(use)), reverse=True)
        kept.update(use.digest for use in first[:keep])
    return sorted(set(present) - kept)


def _model_and_kind(use: VersionUse) -> tuple[str, bool]:
    return use.model, use.served


def _rank(use: VersionUse) -> tuple[str, int, str]:
    """The higher, the sooner it is wanted again; only for versions of one kind."""
    return use.used if use.served else "", use.version, use.used


def least_used(graphs: Iterable[Graph], limit: int) -> list[Graph]:
    """The cached graphs that have to go, so that the others take `limit` bytes at most: those unused for longest."""
    newest = sorted(graphs, key=lambda graph: (graph.used_ns, graph.name), reverse=True)
    total, going = 0, []
    for graph in newest:
        total += graph.size
        if total > limit:
            going.append(graph)
    return going[::-1]
