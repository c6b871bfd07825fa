"""Where one HTTP/2 connection is.

```
  ──► OPENING ── SETTINGS ──► OPEN ── leave() ──► LEAVING ── ping answered ──► LEFT ── no call left ──► LINGER ──► GONE
         │                      │                     │                           │                        ▲
         └── no HTTP/2, slow ──┴─── a broken rule ───┴───────────────────────────┴────────────────────────┘
```
Leaving loses nothing: a first GOAWAY asks for no more calls, and only when the client has answered a ping, so that all
it sent before is here, the second one says where the line is drawn.
"""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """Ordered: from `LINGER` on input is thrown away."""

    OPENING = 0
    OPEN = 1
    LEAVING = 2
    LEFT = 3
    LINGER = 4
    GONE = 5
