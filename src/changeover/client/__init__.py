"""A client in Python: numpy in and out over binary HTTP, and the rollout verbs of the control port.

```python
from changeover import Client

with Client() as client:
    scores = client.infer("digits", {"image": images})["scores"]
```

`Client` needs urllib3 and `AsyncClient` aiohttp: `pip install 'changeover[client]'`. Both are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from changeover.client.asynchronous import AsyncClient
    from changeover.client.blocking import Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from changeover.client.blocking import Client

        return Client
    if name == "AsyncClient":
        from changeover.client.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
