"""Runs from and to memory that stays where it is, which spares making tensors of arrays and copying them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from changeover.runtime.session import Array, Session
from changeover.tensors import Datatype

_MARK = b"\xa5\x5a\xc3\x3c\x96\x69\xf0\x0f"
_OWN = (Datatype.BF16, Datatype.BYTES)
"""What onnxruntime cannot write where numpy says."""


class Bound:
    """One run of a session, to be repeated with what then lies in its inputs; see `bind`."""

    __slots__ = ("_arrays", "_binding", "_marks", "_options", "_run")

    def __init__(self, session: Session, feeds: Mapping[str, Array], outputs: Sequence[Array]) -> None:
        inner = session._session  # noqa: SLF001 - the neighbour that knows onnxruntime
        binding = inner.io_binding()
        for name, array in feeds.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for spec, array in zip(session.outputs, outputs, strict=True):
            binding.bind_output(spec.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._arrays = dict(feeds), list(outputs)  # their memory is pointed at
        self._marks = [_first_bytes(array) for array in outputs]
        self._binding = binding._iobinding  # noqa: SLF001 - the public `run_with_iobinding` looks for a GPU's graphs
        self._run = inner._sess.run_with_iobinding  # noqa: SLF001
        self._options = session._options  # noqa: SLF001

    def run(self) -> bool:
        """Run; returns whether all outputs are in their places now.

        If not, nothing is known of them: whoever runs it in the usual way is told what is wrong. An output that
        happens to begin with the mark counts as not written.
        """
        for view, mark in self._marks:
            view[:] = mark
        try:
            self._run(self._binding, self._options)
        except Exception:  # noqa: BLE001 - onnxruntime raises a dozen classes with no common one
            return False
        for view, mark in self._marks:  # noqa: SIM110 - a generator takes a hundredth of a quick run's time
            if view == mark:
                return False
        return True


def bind(
    session: Session, feeds: Mapping[str, Array], outputs: Sequence[Array], right: Sequence[Array]
) -> Bound | None:
    """Bind a run to its memory, and try it once.

    Args:
        session: on the processor, as onnxruntime has it; no other can be bound.
        feeds: inputs by name, as they were run just now.
        outputs: where they are to be from now on, in the order of the signature.
        right: what came out just now.

    Returns:
        The run; None where the session, or a datatype, does not allow it, or where the outputs do not come again as
        they came.
    """
    if type(session) is not Session or any(spec.datatype in _OWN for spec in (*session.inputs, *session.outputs)):
        return None
    if session._session.get_providers() != ["CPUExecutionProvider"]:  # noqa: SLF001
        return None
    if not all(array.size for array in (*feeds.values(), *outputs)):
        return None
    bound = Bound(session, feeds, outputs)
    same = bound.run() and all(a.tobytes() == b.tobytes() for a, b in zip(outputs, right, strict=True))
    return bound if same else None


def _first_bytes(array: Array) -> tuple[memoryview, bytes]:
    view = array.reshape(-1).view(np.uint8).data[: len(_MARK)]
    return view, _MARK[: len(view)]
