"""Who asks for an inference, whatever the protocol: all that the pipeline knows of a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from changeover.errors import ChangeoverError
from changeover.protocol.oip import InferRequest
from changeover.tensors import Raw, Tensor


class Asker(Protocol):
    """One request of a client, read by its door, and the way to answer it.

    Attributes:
        protocol: `HTTP` or `GRPC` of `telemetry.observations`.
        headers: names in lower case and values as sent; `changeover-version`, `-key` and `-timeout` mean the same
            in every protocol.
        size: bytes of the request's body.
        received: `time.monotonic()` when its first byte was read.
        timeout: seconds from then on after which the protocol itself ends the request; None when it has no such word.
    """

    protocol: str
    headers: Mapping[bytes, bytes]
    size: int
    received: float
    timeout: float | None

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Call `gone`, once, when the client goes away before its answer; None takes that back."""

    def decode(self) -> InferRequest:
        """The tensors and what is asked of them; they may be views of the body, which owns its memory.

        Raises:
            InvalidRequest: the body is wrong.
            TooLarge: it is over a limit.
        """

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """The answer as chunks, which may be views of the outputs.

        Raises:
            ChangeoverError: it cannot be written in the form that was asked for.
        """

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """Answer with what `encode` gave; its memory is free again after this returns."""

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """Answer with an error."""
