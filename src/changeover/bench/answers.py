"""From the bytes of an answer to its row in the records."""

from __future__ import annotations

from changeover.bench.check import AnswerChecker, Outcome
from changeover.bench.records import Records, Timing
from changeover.bench.spec import LoadSpec
from changeover.bench.wire import ResponseHead, failure_reason, parse_answer

_MOST_VARIANTS = 64  # answers to one sample differ by version, and in the last bits by batch size
_MOST_BYTES = 1 << 16
_SHED = frozenset(("overloaded", "queue_full", "queue_delay"))  # reasons of a 503 by which a server sheds load


class Answers:
    """Judges answers and records them.

    The same sample gets the same bytes again and again, so a judgement is kept with the bytes it was made on: a
    known answer costs one look-up instead of a decoding and a comparison.
    """

    def __init__(self, spec: LoadSpec, records: Records) -> None:
        self._records = records
        self._output = spec.output
        self._checker = AnswerChecker(spec.expected, spec.tolerance) if spec.expected else None
        self._known: list[dict[bytes, tuple[int, Outcome]]] = [{} for _ in range(spec.samples)]

    def record(self, timing: Timing, sample: int, head: ResponseHead, body: bytes) -> None:
        """Add the row of one complete answer."""
        if head.status != 200:
            reason = failure_reason(body)
            shed = head.status == 503 and reason in _SHED
            self._records.add_failure(timing, head.status, reason, Outcome.SHED if shed else Outcome.FAILED)
            return
        known = self._known[sample].get(body) or self._judge(sample, head.json_length, body)
        if known is None:
            self._records.add_failure(timing, head.status, "bad answer")
        else:
            self._records.add_answer(timing, *known, head.epoch)

    def _judge(self, sample: int, json_length: int | None, body: bytes) -> tuple[int, Outcome] | None:
        """Decode and compare an answer not seen before; None when it is no answer at all."""
        try:
            version, outputs = parse_answer(body, json_length)
            values = outputs[self._output or next(iter(outputs))]
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return None
        outcome = self._checker.outcome(sample, version, values) if self._checker else Outcome.OK
        judged = (self._records.version_index(version), outcome)
        known = self._known[sample]
        if len(body) <= _MOST_BYTES:
            if len(known) >= _MOST_VARIANTS:
                known.clear()
            known[body] = judged
        return judged
