"""What the bench on sequences counts: steps without an answer, wrong ones, moves; and how its clients send."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

SENT = np.arange(1, 13, dtype=np.float32).reshape(3, 4)


class Adder:
    """A server of sequences that sums up, on a port of its own; `steps` is what came, with the socket it came by."""

    def __init__(self, *, forgets: int = 0, refuses: int = 0) -> None:
        self.steps: list[tuple[int, dict[str, Any], float]] = []
        self.sums: dict[int, float] = {}
        self.port = 0
        self._forgets, self._refuses = forgets, refuses
        self._sockets = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the client goes."""
        self._sockets += 1
        socket = self._sockets
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            status, body = self._answer(socket, json.loads(await reader.readexactly(length)))
            told = json.dumps(body).encode()
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%b" % (status, len(told), told))

    def _answer(self, socket: int, asked: dict[str, Any]) -> tuple[int, Any]:
        said, (value,) = asked["parameters"], asked["inputs"][0]["data"]
        name = said["sequence_id"]
        self.steps.append((socket, said, value))
        if len(self.steps) == self._refuses:
            return 500, {"error": "it is lost", "reason": "sequence_lost"}
        kept = 0.0 if said.get("sequence_start") else self.sums[name]
        if len(self.steps) != self._forgets:
            self.sums[name] = kept + value
        version = "2" if len(self.steps) > 6 else "1"
        return 200, {"model_version": version, "outputs": [{"data": [kept + value]}]}


def sent(adder: Adder, *, connections: int = 1, doors: int = 1, change: float = 0.0) -> Any:
    """What came of sending all, and how it was counted."""
    from sequence_load import Load

    async def run() -> Any:
        server = await asyncio.start_server(adder.serve, "127.0.0.1")
        load = Load(server.sockets[0].getsockname()[1], "m", SENT, connections, doors=doors)

        async def other() -> None:
            for steps in (2, 100):
                async with load.still():
                    seen = len(adder.steps)
                    await asyncio.sleep(0)
                    assert len(adder.steps) == seen
                await load.more(steps)

        try:
            await load._run([(change, other)] if change else [])
        finally:
            server.close()
        return load.outcome

    return asyncio.run(run())


def test_each_step_is_sent_once_and_in_order() -> None:
    """Start and end are said, and every answer is compared with its own."""
    adder = Adder()
    told = sent(adder).against(SENT.cumsum(axis=1))
    assert (told["steps"], told["lost"], told["wrong"], told["by_version"]) == (12, 0, 0, {"1": 6, "2": 6})
    mine = [(said, value) for _, said, value in adder.steps if said["sequence_id"] == 2]
    assert mine == [
        ({"sequence_id": 2, "sequence_start": True}, 5.0),
        ({"sequence_id": 2}, 6.0),
        ({"sequence_id": 2}, 7.0),
        ({"sequence_id": 2, "sequence_end": True}, 8.0),
    ]


def test_a_step_that_is_lost_and_one_that_is_forgotten_are_counted() -> None:
    """The first has no answer, the second shows in all answers after it: what the negative controls are told by."""
    refused = sent(Adder(refuses=12)).against(SENT.cumsum(axis=1))
    assert (refused["lost"], refused["wrong"], refused["errors"]) == (1, 0, {"sequence_lost": 1})
    forgotten = sent(Adder(forgets=4)).against(SENT.cumsum(axis=1))
    assert (forgotten["lost"], forgotten["wrong"], forgotten["largest_error"]) == (0, 2, 2.0)


def test_a_difference_below_a_millionth_is_none() -> None:
    """And one above it is."""
    found = sent(Adder())
    expected = SENT.cumsum(axis=1).astype(np.float64)
    assert found.against(expected + 9e-7)["wrong"] == 0
    assert found.against(expected + 2e-6)["wrong"] == 12


def test_a_move_is_a_step_in_another_version_than_the_one_before() -> None:
    """Its latency is what the pause is told by; a step that was refused is none."""
    from sequence_load import Outcome

    versions = np.array([[1, 1, 2, 2], [1, 0, 0, 2], [2, 2, 2, 2]])
    latency = np.arange(12, dtype=float).reshape(3, 4)
    found = Outcome(np.zeros((3, 4)), versions, latency)
    assert found.moved().tolist() == [2.0, 7.0]


@pytest.mark.parametrize(
    ("more", "sockets"), [({}, 1), ({"doors": 2}, 2), ({"change": 0.5}, 3), ({"connections": 3}, 3)]
)
def test_doors_are_sockets_one_after_the_other(more: dict[str, Any], sockets: int) -> None:
    """By the clock of the steps, or when the bench says so; no step is sent twice for it."""
    adder = Adder()
    assert sent(adder, **more).against(SENT.cumsum(axis=1))["wrong"] == 0
    assert len({socket for socket, _, _ in adder.steps}) == sockets
    assert len(adder.steps) == 12


def test_a_control_fails_only_by_wrong_answers(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """A run in which nothing went wrong is no control, nor is one that only lost steps."""
    import rig
    import sequences

    monkeypatch.setattr(rig, "_missed", [])
    for lost, wrong, met in ((0, 0, False), (5, 0, False), (0, 1, True)):
        told = {"lost": lost, "wrong": wrong}
        monkeypatch.setattr(sequences, "kills", lambda *_, told=told: sequences._tell("kills", told, moved=True))
        monkeypatch.setattr(sequences, "rollback", sequences.kills)
        sequences.controls(SENT, SENT)
        figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(f["figure"], f["met"]) for f in figures] == [
            ("sequences_control_torn", met),
            ("sequences_control_deaf", met),
        ]
    assert len(rig._missed) == 4


@pytest.mark.parametrize(
    ("lost", "wrong", "moved", "met"),
    [(0, 0, True, True), (1, 0, True, False), (0, 1, True, False), (0, 0, False, False)],
)
def test_a_figure_needs_all_answers_right_and_a_move(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any, lost: int, wrong: int, moved: bool, met: bool
) -> None:
    """A run in which no sequence moved shows nothing."""
    import rig
    import sequences

    monkeypatch.setattr(rig, "_missed", [])
    sequences._tell("some", {"lost": lost, "wrong": wrong}, moved=moved)
    assert json.loads(capsys.readouterr().out)["met"] is met
