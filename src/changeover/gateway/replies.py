"""Reading a worker's answers: nothing is believed before it was checked against declaration and memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Final

from changeover.errors import Internal, ModelRunFailed
from changeover.gateway.ticket import Batch
from changeover.tensors import Datatype, Raw, Tensor, TensorSpec, bytes_offsets, split_rows
from changeover.transport import channel
from changeover.transport.channel import Message, Part

_KEPT_LAYOUTS = 512
_MAX_MEMORY = 1 << 30
"""Bytes of an answer's own memory: what goes out is copied, and sealed memory may be larger than the machine's."""
_FAILURES: Final = frozenset({"bytes_not_utf8", "injected_fault", "out_of_memory", "output_undeclared"})
"""What a run fails by, beside `run_failed`. Any other word is of a worker's own making: clients would be told it, and
each would be a count and a label for ever, until they fit no report."""
_MAX_ELEMENTS = 1 << 22
"""Elements of a BYTES output: they are walked one by one, about 60 ns each."""


class Replies:
    """Checks and cuts the answers of workers of one loading, whose outputs are declared."""

    def __init__(self, outputs: Sequence[TensorSpec]) -> None:
        self._outputs = outputs
        self._checked: dict[tuple[bytes, int, int], list[Part]] = {}

    def parts(self, body: bytes, count: int, runs: int, limit: int) -> list[Part]:
        """The descriptors, checked against declaration and memory; a layout seen before is not checked again."""
        key = (body, runs, limit)
        parts = self._checked.get(key)
        if parts is None:
            parts = channel.unpack_parts(body, count)
            if sum(part.nbytes for part in parts) * runs > limit:
                raise Internal("outputs that overlap", reason="channel_malformed")
            if len(parts) != len(self._outputs):
                raise Internal(f"{len(parts)} outputs for {len(self._outputs)}", reason="channel_malformed")
            for position, (part, spec) in enumerate(zip(parts, self._outputs, strict=True)):
                if part.position != position or part.datatype != spec.datatype:
                    raise Internal("an output of another type than declared", reason="channel_malformed")
                channel.check_part(part, runs, spec.datatype.itemsize, limit)
                if spec.shape and not spec.fits(part.shape):
                    raise Internal("an output of another shape than declared", reason="channel_malformed")
            if len(self._checked) < _KEPT_LAYOUTS:
                self._checked[key] = parts
        return parts

    def outputs(self, batch: Batch, body: bytes, count: int, memory: memoryview) -> list[list[Tensor]]:
        """Each ticket's outputs, as views; raises as `cut`. Where nothing was run there are none."""
        if not count and batch.tickets[0].kind is Message.RECORDS:
            return [[] for _ in batch.tickets]
        return self.cut(batch, self.parts(body, count, batch.runs, len(memory)), memory)

    def cut(self, batch: Batch, parts: list[Part], memory: memoryview) -> list[list[Tensor]]:
        """Each ticket's outputs, as views.

        Raises:
            ModelRunFailed: `output_too_large`; `output_undeclared`, see `_rows`.
        """
        if len(memory) > _MAX_MEMORY:
            raise _too_large(f"an answer of {len(memory)} bytes; {_MAX_MEMORY} are the limit")
        if len(batch.tickets) == 1:
            return [[self._tensor(p, memory, 0) for p in parts]]
        if batch.runs > 1:
            return [[self._tensor(p, memory, run) for p in parts] for run in range(batch.runs)]
        counts = [t.admitted.rows for t in batch.tickets]
        columns = [self._rows(part, memory, batch.rows, counts) for part in parts]
        return [list(row) for row in zip(*columns, strict=True)]

    def _tensor(self, part: Part, memory: memoryview, run: int) -> Tensor:
        spec = self._outputs[part.position]
        start = part.offset + run * part.stride
        data: Raw = memory[start : start + part.nbytes]
        if spec.datatype is Datatype.BYTES:
            count = prod(part.shape)
            if count > _MAX_ELEMENTS:
                raise _too_large(f"{count} elements in the BYTES output {spec.name!r}; {_MAX_ELEMENTS} are the limit")
            data = _elements(bytes(data), count)  # a copy: checked lengths must not change afterwards
        return Tensor(spec.name, spec.datatype, part.shape, data)

    def _rows(self, part: Part, memory: memoryview, rows: int, counts: list[int]) -> list[Tensor]:
        """One output of a batch, cut where the tickets' rows end.

        Raises:
            ModelRunFailed: the model made more or fewer rows of these inputs than they have (`output_undeclared`);
                each ticket gets a run of its own then.
        """
        if not part.shape or part.shape[0] != rows:
            raise ModelRunFailed(
                f"output {part.position} has shape {list(part.shape)} for {rows} rows", reason="output_undeclared"
            )
        whole = self._tensor(part, memory, 0)
        if whole.datatype is Datatype.BYTES:
            return split_rows(whole, counts)
        rest = part.shape[1:]
        row_bytes = prod(rest) * whole.datatype.itemsize
        name, datatype = whole.name, whole.datatype
        tensors: list[Tensor] = []
        at = part.offset
        for count in counts:
            end = at + count * row_bytes
            tensors.append(Tensor(name, datatype, (count, *rest), memory[at:end]))
            at = end
        return tensors


def failure(body: bytes) -> ModelRunFailed:
    """What a worker tells of a run that failed."""
    try:
        told = json.loads(body)
        detail, reason = _text(told["detail"]), _text(told["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Internal("a failure that tells nothing", reason="channel_malformed") from None
    return ModelRunFailed(detail, reason=reason if reason in _FAILURES else "run_failed")


def _too_large(what: str) -> ModelRunFailed:
    return ModelRunFailed(what, reason="output_too_large")


def _text(told: object) -> str:
    """JSON may hold halves of surrogate pairs, which no answer can be written with."""
    return str(told).encode("utf-8", "replace").decode()


def _elements(data: bytes, count: int) -> bytes:
    """The same bytes, when they are `count` elements of a BYTES tensor."""
    try:
        bytes_offsets(data, count)
    except ValueError as error:
        raise Internal(str(error), reason="channel_malformed") from None
    return data
