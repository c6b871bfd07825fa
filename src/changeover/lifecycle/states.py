"""States of a loading: one attempt to bring one version up, as a table (design, section 6).

`new → verifying → loading → validating → ready → draining → released`, and from every state that is not an end to
`failed`. Forward only: a loading that came to an end is never revived, the next attempt is another loading.
"""

from __future__ import annotations

import enum
from typing import Final

from changeover.errors import Internal


class LoadingState(enum.StrEnum):
    """Where a loading stands.

    `NEW`: known, nothing done. `VERIFYING`: the sealed bytes are being checked. `LOADING`: a worker makes the
    session. `VALIDATING`: the gates run. `READY`: may be named by a routing table. `DRAINING`: no table names it any
    more, leases end. `RELEASED`: the worker has ended. `FAILED`: ended early, with a reason.
    """

    NEW = "new"
    VERIFYING = "verifying"
    LOADING = "loading"
    VALIDATING = "validating"
    READY = "ready"
    DRAINING = "draining"
    RELEASED = "released"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether no other state can follow."""
        return not _NEXT[self]


_NEXT: Final[dict[LoadingState, tuple[LoadingState, ...]]] = {
    LoadingState.NEW: (LoadingState.VERIFYING, LoadingState.FAILED),
    LoadingState.VERIFYING: (LoadingState.LOADING, LoadingState.FAILED),
    LoadingState.LOADING: (LoadingState.VALIDATING, LoadingState.FAILED),
    LoadingState.VALIDATING: (LoadingState.READY, LoadingState.FAILED),
    LoadingState.READY: (LoadingState.DRAINING, LoadingState.FAILED),
    LoadingState.DRAINING: (LoadingState.RELEASED, LoadingState.FAILED),
    LoadingState.RELEASED: (),
    LoadingState.FAILED: (),
}


def move(state: LoadingState, to: LoadingState) -> LoadingState:
    """The new state, when the table has the pair.

    Raises:
        Internal: `loading_transition`: the table does not have it.
    """
    if to not in _NEXT[state]:
        raise Internal(f"A loading cannot go from {state} to {to}.", reason="loading_transition")
    return to


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    pairs = [f"    {state} --> {to}" for state, following in _NEXT.items() for to in following]
    ends = [f"    {state} --> [*]" for state in LoadingState if state.ended]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {LoadingState.NEW}", *pairs, *ends]) + "\n"
