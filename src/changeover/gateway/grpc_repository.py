"""The calls of the model repository over gRPC, as Triton's clients make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from changeover.errors import ChangeoverError
from changeover.gateway.door.http2 import hpack
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import percent_encoded
from changeover.gateway.grpc_asker import error_status
from changeover.gateway.repository import Leave, Raw, Repository, Told
from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.protocol.oip_grpc_schema import METHODS as SCHEMA

INDEX: Final = "repository_index"
LOAD: Final = "repository_load"
UNLOAD: Final = "repository_unload"

Values = dict[str, Any]


class RepositoryCalls:
    """Takes the calls of one port.

    Args:
        repository: which they are asked of.

    Attributes:
        handlers: by what the table of methods calls them.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.handlers: dict[str, Callable[[Call], None]] = {
            INDEX: lambda call: self._take(call, self._index),
            LOAD: lambda call: self._take(call, self._load),
            UNLOAD: lambda call: self._take(call, self._unload),
        }

    def _take(self, call: Call, ask: Callable[[Values, Told], Leave]) -> None:
        """Take one call; its answer goes out when the controller has answered.

        Raises:
            ChangeoverError: it was refused at once.
        """
        messages = SCHEMA[call.path]

        def told(outcome: Any) -> None:
            call.abandoned = None
            if isinstance(outcome, ChangeoverError):
                error_status(call, outcome)
            elif messages.response.endswith("IndexResponse"):
                call.respond((encode(messages.response, {"models": outcome}),))
            else:
                call.respond((b"",), _warnings(outcome or ()))

        call.abandoned = ask(decode(messages.request, call.body), told)

    def _index(self, asked: Values, told: Told) -> Leave:
        return self._repository.index(ready=asked["ready"], told=told)

    def _load(self, asked: Values, told: Told) -> Leave:
        parameters = [(name, _raw(value)) for name, value in asked["parameters"].items()]
        return self._repository.load(asked["model_name"], parameters, told)

    def _unload(self, asked: Values, told: Told) -> Leave:
        """Its parameters say what becomes of dependents, and no model has any."""
        return self._repository.unload(asked["model_name"], told)


def _raw(value: Mapping[str, Any]) -> Raw:
    """A parameter's value: text and files as they are, numbers as JSON would have them."""
    one = next(iter(value.values()), b"")
    if isinstance(one, bytes | memoryview):
        return one
    return str(one).encode() if not isinstance(one, bool) else str(one).lower().encode()


def _warnings(sentences: list[str] | tuple[()]) -> bytes:
    """What of the parameters has no effect, as metadata: the answer itself has no place for it."""
    return hpack.encode([(b"changeover-warning", percent_encoded(sentence)) for sentence in sentences])
