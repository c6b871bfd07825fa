"""A real server for tests: processes of its own on free ports, with a repository and a state folder of its own.

```python
with Server(tmp_path, lame_duck=0.2) as server:
    server.push("double", models.scale(2.0).SerializeToString())
```

Nothing here is a stand-in: the server runs as `changeover serve` does. Every wait has a deadline, and leaving the
block checks that nothing outlives the server.
"""

from __future__ import annotations

from changeover.testing.server import INSTANT, Server
from changeover.testing.talk import Reply, exchange
from changeover.testing.traces import Outlived, cpu_seconds
from changeover.testing.waiting import PATIENCE, wait_for

__all__ = ["INSTANT", "PATIENCE", "Outlived", "Reply", "Server", "cpu_seconds", "exchange", "wait_for"]
