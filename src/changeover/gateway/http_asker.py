"""An inference that is asked for over HTTP: OIP in JSON, with or without binary tensors behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from changeover.errors import ChangeoverError, TooLarge
from changeover.gateway.answers import error_answer, infer_head, traced
from changeover.gateway.door.request import HttpRequest
from changeover.protocol.content_coding import CODINGS, IDENTITY, MOST_UNPACKED, Unpacking, packed
from changeover.protocol.oip import InferRequest
from changeover.protocol.oip_binary import decode, encode_response, with_parameters
from changeover.protocol.oip_raw import raw_request
from changeover.protocol.trace_context import NAME
from changeover.telemetry.observations import HTTP
from changeover.tensors import Raw, Tensor

_JSON_LIMIT = 4 << 20
"""Bytes of JSON: parsing 4 MiB keeps all others waiting for about a quarter of a second. A gateway that is silent for
half a second during a switch is taken for dead, so more is refused."""


class HttpAsker:
    """The `Asker` of a request of the HTTP door."""

    protocol = HTTP
    __slots__ = (
        "_body", "_body_limit", "_header_length", "_refused", "_request", "_unpacked", "_unpacking", "headers",
        "received", "size", "timeout",
    )  # fmt: skip

    def __init__(self, request: HttpRequest, body_limit: int = MOST_UNPACKED) -> None:
        self._body_limit = body_limit
        self._request = request
        self._body = request.body
        self._unpacked = False
        self._unpacking: Unpacking | None = None
        self._refused: ChangeoverError | None = None
        self._header_length: int | None = None
        self.headers: Mapping[bytes, bytes] = request.headers
        self.size = len(request.body)
        self.received = request.received
        self.timeout: float | None = None

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Call `gone` when the client goes away."""
        self._request.abandoned = gone

    def unpack(self) -> bool:
        """Unpack a mebibyte of a packed body; returns whether nothing is left to be done, also because it cannot be."""
        coding = self.headers.get(b"content-encoding")
        if coding is None or self._unpacked:
            return True
        try:
            if self._unpacking is None:
                if coding.strip().lower() == IDENTITY:
                    self._unpacked = True
                    return True
                most = min(self._body_limit, MOST_UNPACKED)
                self._unpacking = Unpacking(self._body, coding, most, self._request.hold)
            found = self._unpacking.step()
        except ChangeoverError as error:
            self._refused, self._unpacked = error, True
            return True
        if found is None:
            return False
        self._body, self._unpacking, self._unpacked = found, None, True
        self.size = max(self.size, len(found))
        return True

    def decode(self) -> InferRequest:
        """See `Asker`; `json_too_large` for more JSON than may keep others waiting. All that is left is unpacked."""
        if b"content-encoding" in self.headers:
            while not self.unpack():
                pass
            if self._refused is not None:
                raise self._refused
        body = self._body
        length = self._announced()
        if length == 0:
            return raw_request(body)
        if (len(body) if length is None else min(length, len(body))) > _JSON_LIMIT:
            raise TooLarge(
                f"the JSON of a request may have {_JSON_LIMIT} bytes, this body has {len(body)}; "
                "send the tensors in binary form",
                reason="json_too_large",
            )
        return decode(body, length)

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """See `Asker`; each output in JSON or binary, as it was asked for."""
        flags = asked.binary_flags([tensor.name for tensor in outputs])
        chunks, self._header_length = encode_response(model, version, asked.id, outputs, flags)
        if asked.remarks:
            chunks, self._header_length = with_parameters(chunks, self._header_length, asked.remarks)
        return chunks

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """Answer with 200; packed for who asks for one coding, as Triton's clients do.

        A list of codings is what many libraries send unasked: it gets the answer as it is, which is quicker.
        """
        head = infer_head(self._header_length, epoch)
        trace = self.headers.get(NAME)
        if trace is not None:
            head += traced(trace)
        coding = self.headers.get(b"accept-encoding")
        if coding in CODINGS and (body := packed(chunks, coding)) is not None:
            self._request.respond(200, head + b"content-encoding: %s\r\nvary: accept-encoding\r\n" % coding, [body])
        else:
            self._request.respond(200, head, chunks)

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """Answer with the error's status."""
        error_answer(self._request, error, epoch, self.headers.get(NAME))

    def _announced(self) -> int | None:
        """Bytes of JSON in front of the binary tensors; None where there are none."""
        text = self.headers.get(b"inference-header-content-length")
        if text is None:
            return None
        if not text.isdigit() or len(text) > 10:
            return -1  # decode refuses it with the body's length in the sentence
        return int(text)
