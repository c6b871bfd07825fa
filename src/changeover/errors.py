"""Errors, by whose fault they are.

```
ChangeoverError                     reason, fault
├── CallerError      (caller)       the request is wrong: sending it again does not help
│   ├── InvalidRequest              malformed, or does not fit the model
│   ├── Unauthenticated             nobody known asks: token or certificate is missing or unknown
│   ├── Forbidden                   the token is known and lacks the scope
│   ├── NotFound                    no such model, version, rollout
│   ├── TooLarge                    over a size limit
│   ├── Conflict                    not possible in the present state (undo without a standby)
│   └── InvalidPlan                 model.yaml or an inline plan is wrong
├── ModelError       (model)        the model is wrong: the server is well
│   ├── ModelRejected               a gate refused the version
│   └── ModelRunFailed              the session raised, or answered nonsense
└── ServerError      (server)       the server cannot answer now
    ├── Overloaded                  a queue is full; retry after `retry_after` seconds
    ├── ModelNotReady               the model has no worker that can answer
    ├── Unavailable                 it is not done here, or whoever does it is away for the moment
    ├── DeadlineExceeded            not answered in the time the caller gave
    └── Internal                    a defect or a broken part of the server
```

`reason` is a stable word for programs (`snake_case`), the message a sentence for people that says what to
do next. The doors map the classes to status codes; nothing here knows HTTP or gRPC.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "model", "server"]


class ChangeoverError(Exception):
    """Root of every error this project raises on purpose.

    Attributes:
        status: of the answer over HTTP that told it, where a client raises it; else None.
    """

    fault: ClassVar[Fault] = "server"
    default_reason: ClassVar[str] = "internal"
    status: int | None = None

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason


class CallerError(ChangeoverError):
    """The request is wrong."""

    fault = "caller"


class InvalidRequest(CallerError):
    """Malformed, or it does not fit the model."""

    default_reason = "invalid_request"


class Unauthenticated(CallerError):
    """Nobody known asks: a token or certificate is missing or unknown."""

    default_reason = "unauthenticated"


class Forbidden(CallerError):
    """The token is known and lacks the scope."""

    default_reason = "forbidden"


class NotFound(CallerError):
    """No such thing here."""

    default_reason = "not_found"


class TooLarge(CallerError):
    """Over a size limit."""

    default_reason = "too_large"


class Conflict(CallerError):
    """Not possible in the present state."""

    default_reason = "conflict"


class InvalidPlan(CallerError):
    """`model.yaml`, or a plan sent inline, is wrong."""

    default_reason = "invalid_plan"


class ModelError(ChangeoverError):
    """The model is wrong."""

    fault = "model"


class ModelRejected(ModelError):
    """A gate refused the version."""

    default_reason = "model_rejected"


class ModelRunFailed(ModelError):
    """The session raised, or its answer is not what was declared."""

    default_reason = "model_run_failed"


class ServerError(ChangeoverError):
    """The server cannot answer now."""


class Overloaded(ServerError):
    """A queue is full.

    Attributes:
        retry_after: seconds after which a retry makes sense.
    """

    default_reason = "overloaded"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class ModelNotReady(ServerError):
    """The model has no worker that can answer.

    Attributes:
        retry_after: seconds after which a retry makes sense.
    """

    default_reason = "model_not_ready"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Unavailable(ServerError):
    """It is not done here, as the server is set up, or whoever does it is away for the moment."""

    default_reason = "unavailable"


class DeadlineExceeded(ServerError):
    """Not answered in the time the caller gave."""

    default_reason = "deadline_exceeded"


class Internal(ServerError):
    """A defect, or a broken part of the server."""

    default_reason = "internal"
