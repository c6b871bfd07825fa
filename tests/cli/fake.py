"""A control port that answers from a script: real sockets, invented models."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cli import statuses

DIGEST = "ab12" + "0" * 60

ROLLOUT: dict[str, Any] = statuses.SUCCEEDED | {
    "id": "r-000002",
    "from": {"version": "1", "digest": "cd34" + "0" * 60},
    "to": {"version": "2", "digest": DIGEST},
}

MODEL: dict[str, Any] = {
    "name": "digits",
    "state": "ready",
    "epoch": 7,
    "active": "2",
    "standby": "1",
    "candidate": None,
    "versions": [
        {
            "version": "2",
            "digest": DIGEST,
            "name": "2@ab12",
            "role": "active",
            "state": "ready",
            "reason": None,
            "detail": None,
            "worker": {"pid": 4711, "rss_bytes": 47_000_000, "incarnation": 1},
        },
        {
            "version": "3",
            "digest": DIGEST,
            "name": "3@ab12",
            "role": "none",
            "state": "failed",
            "reason": "output_not_finite",
            "detail": "output scores holds NaN",
            "worker": None,
        },
    ],
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
    "rollout": ROLLOUT,
}

CERTIFICATE: dict[str, Any] = {
    "model": "digits",
    "rollout": "r-000002",
    "from": {"version": 1, "digest": "cd34" + "0" * 60},
    "to": {"version": 2, "digest": DIGEST},
    "outcome": "succeeded",
    "decided_by": "plan",
    "started": "2026-01-31T12:00:00.000000Z",
    "ended": "2026-01-31T12:00:09.000000Z",
    "requests": {"total": 12345, "failed": 0, "shielded": 0, "shed": None},
    "switch": {
        "epoch": 7,
        "store_time": "2026-01-31T12:00:01.000000Z",
        "gateways": 1,
        "store_ns": 410,
        "journal_ms": 1.5,
        "prepare_ms": 0.9,
        "first_ack_ms": 0.2,
        "last_ack_ms": 0.3,
        "stale_picks": 0,
    },
    "latency": {
        "before": {"requests": 4000, "window_s": 4.0, "p50_ms": 1.1, "p99_ms": 2.2},
        "during": {"requests": 2000, "window_s": 2.0, "p50_ms": 1.2, "p99_ms": 2.5},
        "after": None,
    },
    "memory": {"before_bytes": 50_000_000, "peak_bytes": 99_000_000, "after_bytes": 51_000_000, "released_bytes": None},
    "loading": {"quiet_method": "niceness", "load_seconds": 0.21, "cache": "miss"},
    "gates": [{"gate": "warmup", "outcome": "passed", "evidence": {"runs": 4}, "reason": None}],
    "steps": [],
}

EXPLANATION: dict[str, Any] = {
    "rollout": "r-000002",
    "sentences": ["Rollout r-000002 of digits is succeeded.", "Gates passed: integrity, warmup."],
}

SEQUENCE: dict[str, Any] = {"id": 42, "version": "2", "steps": 9, "since": 4, "idle_s": 1.5, "bytes": 4096}

SEQUENCES: dict[str, Any] = {
    "model": "digits",
    "live": 2,
    "max": {"2": 1024},
    "sequences": [SEQUENCE, SEQUENCE | {"id": "42", "version": "1"}],
}

SEQUENCE_SHOWN: dict[str, Any] = {
    "model": "digits",
    "sequence": SEQUENCE,
    "states": [{"name": "h", "datatype": "FP32", "shape": [1, 1, 32]}],
    "kept": 0,
}

Answer = tuple[int, Any]


@dataclass(slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    content_type: str
    body: bytes
    authorization: str | None = None


@dataclass
class FakeControl:
    """`answers` maps "METHOD /path" to (status, document) or a function that returns one."""

    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> FakeControl:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                token = self.headers.get("authorization")
                fake.seen.append(Seen(self.command, self.path, self.headers.get("content-type", ""), body, token))
                missing: Answer = (404, {"error": f"no such thing: {self.path}", "reason": "not_found"})
                found = fake.answers.get(f"{self.command} {self.path.partition('?')[0]}", missing)
                status, document = found() if callable(found) else found
                text = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer  # noqa: N815 - the base class finds them by these names

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def usual() -> FakeControl:
    """A server with the model `digits`, its rollout and its certificate."""
    answers: dict[str, Answer | Callable[[], Answer]] = {
        "GET /v1/models": (200, {"models": [MODEL]}),
        "GET /v1/models/digits": (200, MODEL),
        "GET /v1/models/digits/rollout": (200, ROLLOUT),
        "GET /v1/models/digits/rollouts": (200, {"rollouts": [ROLLOUT]}),
        "GET /v1/rollouts/r-000002": (200, ROLLOUT),
        "GET /v1/rollouts/r-000002/certificate": (200, CERTIFICATE),
        "GET /v1/rollouts/r-000002/explain": (200, EXPLANATION),
        "POST /v1/models/digits/rollout": (202, ROLLOUT | {"phase": "pending"}),
        "POST /v1/models/digits/rollout/undo": (200, ROLLOUT | {"phase": "rolling_back"}),
        "POST /v1/models/digits/rollout/pause": (200, ROLLOUT | {"phase": "paused"}),
        "POST /v1/models/digits/rollout/resume": (200, ROLLOUT | {"phase": "progressing"}),
        "POST /v1/models/digits/rollout/weight": (200, ROLLOUT | {"phase": "progressing"}),
        "POST /v1/models/digits/rollout/promote": (200, ROLLOUT | {"phase": "watching"}),
        "POST /v1/models/digits/rollout/abort": (200, ROLLOUT | {"phase": "rolled_back"}),
        "GET /v1/models/digits/sequences": (200, SEQUENCES),
        "POST /v1/models/digits/sequences/show": (200, SEQUENCE_SHOWN),
        "POST /v1/models/digits/sequences/end": (
            200,
            {"model": "digits", "id": 42, "version": "2", "became": "ended"},
        ),
        "POST /v1/models/digits/sequences/export": (200, {"form": "changeover-sequence/1", "id": 42}),
        "POST /v1/models/digits/sequences/import": (
            200,
            {"model": "digits", "id": 42, "version": "2", "became": "imported"},
        ),
        "POST /v1/models/digits/versions": (
            202,
            {"model": "digits", "version": "2", "digest": DIGEST, "rollout": "r-000002"},
        ),
    }
    return FakeControl(answers)
