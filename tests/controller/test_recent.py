"""Recent requests as an archive: what gateways write, what becomes of shapes and rows, and what is not waited for."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from changeover.controller import recent
from changeover.controller.recent import Archive, RecentRequests
from changeover.tensors import Datatype, Tensor, from_numpy
from changeover.transport.control import Signature, TensorEntry
from changeover.transport.link import Frame, Kind
from changeover.transport.sample import EMPTY, Sample, write

ROWS = Signature([TensorEntry("x", "FP32", [-1, -1])], [TensorEntry("y", "FP32", [-1, -1])], True)
WHOLE = msgspec.structs.replace(ROWS, batchable=False)
Answers = dict[int, Sample | None]
"""What each gateway writes; None: nothing."""


def request(*shape: int, name: str = "x", fill: float = 1.0) -> list[Tensor]:
    return [from_numpy(name, np.full(shape, fill, np.float32))]


def asked(answers: Answers, signature: Signature, hear: Callable[[Frame], None] = lambda _: None) -> Archive:
    """The archive when gateways answer like this, at once."""

    def send(message: Frame) -> None:
        hear(message)
        if (sample := answers[message.target]) is not None:
            list(write(message.fds[0], message.json()["place"], sample))

    return asyncio.run(RecentRequests(send, 7).archive("m", list(answers), signature))


def arrays(archive: Archive) -> dict[str, npt.NDArray[np.float32]]:
    with np.load(io.BytesIO(archive.data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_one_row_of_each_request() -> None:
    """Of all gateways that serve, by this controller's term; samples are on the first axis."""
    heard: list[Frame] = []
    answers: Answers = {3: Sample(40, [request(5, 4)] * 40), 9: Sample(40, [request(1, 4, fill=2.0)] * 40)}
    made = asked(answers, ROWS, heard.append)
    assert (made.seen, made.samples, made.left_out) == (80, 80, 0)
    assert sorted(arrays(made)["x"][:, 0].tolist()) == [1.0] * 40 + [2.0] * 40
    assert arrays(made)["x"].shape == (80, 4)
    assert [(f.kind, f.target, f.term, f.json()) for f in heard] == [
        (Kind.SAMPLE, 3, 7, {"model": "m", "place": 0}),
        (Kind.SAMPLE, 9, 7, {"model": "m", "place": 1}),
    ]


def test_whole_requests_of_one_shape() -> None:
    """Where rows belong together a request is a sample; those of a rarer shape, or other inputs, are not among them."""
    requests = [request(2, 4)] * 6 + [request(3, 4)] * 2 + [request(2, 4, name="z")]
    made = asked({1: Sample(9, requests)}, WHOLE)
    assert (made.samples, made.left_out, arrays(made)["x"].shape) == (6, 2, (6, 2, 4))


def test_texts() -> None:
    """They need no pickle."""
    text = [Tensor("x", Datatype.BYTES, (1, 1), b"\x02\x00\x00\x00hi")]
    made = asked({1: Sample(1, [text])}, ROWS)
    assert arrays(made)["x"].tolist() == [[b"hi"]]


def test_nothing_is_kept() -> None:
    """Gateways that kept nothing, and none at all."""
    for answers in ({1: EMPTY}, {}):
        made = asked(answers, ROWS)
        assert (made.samples, made.seen, arrays(made)) == (0, 0, {})


def test_a_silent_gateway_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be dead: what the other one has is given."""
    monkeypatch.setattr(recent, "_PATIENCE", 0.05)
    made = asked({1: None, 2: Sample(3, [request(1, 4)] * 3)}, ROWS)
    assert (made.samples, made.seen) == (3, 3)


def text(*elements: bytes) -> list[Tensor]:
    """One row of texts."""
    return [from_numpy("x", np.array([elements], object))]


def test_texts_that_would_be_padded_without_end() -> None:
    """All texts of an array are as long as its longest: many short ones beside a long one, in 1 MB, would be 40 GB."""
    spread = text(*[b""] * 200_000, b"x" * 200_000)
    made = asked({1: Sample(9, [text(b"hi", b"you")] * 3 + [spread] * 5 + [text(b"x" * 900_000)])}, ROWS)
    assert (made.samples, made.left_out) == (3, 6)
    assert arrays(made)["x"].tolist() == [[b"hi", b"you"]] * 3
