"""Where one HTTP/1.1 connection is.

```
            ┌──────────── answered, connection kept ────────────┐
            ▼                                                   │
  ──► READING ── whole request ──────────────────────────────► APP ── answered, last one ──► LINGER ──► GONE
        │  ▲  ── budget is short ──► WAITING                    │                              ▲        ▲
        │  └───────── granted ──────────┘ └── shed with 503 ────┼──────────────────────────────┤        │
        └── refused with 4xx or 5xx¹ ───────────────────────────┼──────────────────────────────┘        │
        └── idle, or ended by the client ───────────────────────┴── client gone: abandoned ─────────────┘
```
Input is parsed in `READING`, kept for later in `WAITING` and `APP`, and thrown away after them.
¹ by the door, or by the application before the body was taken in.
"""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """Ordered by what happens to input: parsed, kept, kept, thrown away, thrown away."""

    READING = 0
    WAITING = 1
    APP = 2
    LINGER = 3
    GONE = 4
