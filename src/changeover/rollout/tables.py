"""Drawing routing tables (pure): who gets which buckets, for each situation of strategy `instant`."""

from __future__ import annotations

from changeover.transport.control import BUCKETS, LoadingEntry, RoutingTable


def all_to(
    model: str, word: int, epoch: int, active: LoadingEntry, *, standby: LoadingEntry | None = None
) -> RoutingTable:
    """All buckets to one loading; a standby is named, so it is kept warm and may be asked for by its version."""
    loadings = [active] if standby is None else [active, standby]
    return RoutingTable(
        model=model,
        word=word,
        epoch=epoch,
        buckets=[(BUCKETS, active.loading)],
        loadings=loadings,
        active=active.loading,
        standby=None if standby is None else standby.loading,
    )
