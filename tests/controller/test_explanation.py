"""A rollout explained: sentences with numbers, for each situation."""

from __future__ import annotations

import msgspec
import pytest

from changeover.controller.bodies import RolloutStatus
from changeover.controller.explanation import explained
from tests.cli.statuses import ALL


def told(situation: str) -> list[str]:
    """What is said of it."""
    return explained(msgspec.convert(ALL[situation], RolloutStatus))


@pytest.mark.parametrize("situation", ALL)
def test_whole_sentences(situation: str) -> None:
    """Each begins with its subject and ends with one full stop."""
    sentences = told(situation)
    assert sentences[0].startswith("Rollout r-000004 of digits from ")
    for sentence in sentences:
        assert sentence.endswith("."), sentence
        assert not sentence.endswith(".."), sentence
        assert "None" not in sentence, sentence


def test_a_new_controller_says_what_became_of_the_evidence() -> None:
    """Its hold began anew, and some of what was counted before counts."""
    shown = ALL["progressing"]
    taken = {**shown["history"][-1], "event": "found_split", "at": "2026-01-31T12:01:30.000000Z"}
    why = {"reason": "inconclusive", "detail": "need about 40 more"}
    sentences = explained(msgspec.convert({**shown, **why, "history": [*shown["history"], taken]}, RolloutStatus))
    assert "The reason is inconclusive: need about 40 more." in sentences
    assert any(s.startswith("A new controller took it over at 2026-01-31T12:01:30.000000Z; a hold") for s in sentences)
    assert not any("What happened last" in s for s in sentences)


def test_with_strategy_manual_nothing_can_be_resumed() -> None:
    """So nobody is told to."""
    shown = {**ALL["paused"], "plan": {"rollout": {"strategy": "manual"}}}
    sentences = explained(msgspec.convert(shown, RolloutStatus))
    assert sentences[-1] == "It waits for people: `changeover rollout weight digits SHARE`."


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("undo_asked", "What was judged last ended by an undo; the judge had said: nothing failed."),
        ("clear", "The judge says clear: nothing failed."),
    ],
)
def test_who_ended_a_step_is_not_the_judge(verdict: str, words: str) -> None:
    """Where people did, what the judge had found until then is told as that."""
    ruling = {"verdict": verdict, "reason": verdict, "detail": "nothing failed", "findings": []}
    sentences = explained(msgspec.convert({**ALL["rolled_back"], "ruling": ruling}, RolloutStatus))
    assert words in sentences


def test_a_gate_s_sentence_is_said_once() -> None:
    """As the reason it is there already."""
    shown = ALL["failed"]
    gate = next(gate for gate in shown["gates"] if gate["result"] == "failed")
    sentences = explained(msgspec.convert({**shown, "detail": gate["detail"]}, RolloutStatus))
    assert sum(gate["detail"] in sentence for sentence in sentences) == 1
    assert f"The gate {gate['gate']} refused the version." in sentences


def test_a_step_whose_table_is_not_in_force_yet() -> None:
    """It has no time since when."""
    shown = ALL["progressing"]
    sentences = explained(msgspec.convert({**shown, "step": {**shown["step"], "since": None}}, RolloutStatus))
    assert sentences[0].endswith("is progressing at step 5%, 3 of 6, which is being taken just now.")


@pytest.mark.parametrize(
    ("event", "words"), [("unjudged", "the judge failed"), ("judged", "the judge was sound again")]
)
def test_the_judge_is_not_said_to_have_decided_about_itself(event: str, words: str) -> None:
    """It failed, or judges again: the step is held, and nobody has decided anything."""
    shown = ALL["progressing"]
    moment = {**shown["history"][-1], "event": event, "at": "2026-01-31T12:01:30.000000Z"}
    sentences = explained(msgspec.convert({**shown, "history": [*shown["history"], moment]}, RolloutStatus))
    assert f"What happened last: {words} at 2026-01-31T12:01:30.000000Z." in sentences


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        ("validating", "the new version is being loaded and goes through its gates; it has no traffic."),
        ("progressing", "is progressing at step 5%, 3 of 6, since 2026-01-31T12:01:12.000000Z."),
        ("progressing", "decided by judge: 1% is clear"),
        ("progressing", "is to have 5% of the traffic, and had 4.96% of the requests at this step."),
        ("progressing", "The new version 2 answered 745 requests, 0 failed; in the last seconds p50 was 0.41 ms"),
        ("progressing", "Work, slow batch: 1.10 times the active version's, at most 1.61 times (limit: +50 %)"),
        ("progressing", "about 57 more are needed to prove the limit."),
        ("progressing", "This step lasts 18 s more at least, and lacks 255 of 1,000 requests."),
        ("paused", "`changeover rollout resume|promote|abort digits`"),
        ("watching", "Until 2026-01-31T12:14:00+00:00 `changeover undo digits` gives everything back."),
        ("rolled_back", "The reason is error_rate: 31 of 745 requests failed"),
        ("rolled_back", "The new version 2 answered 745 requests, 31 failed, 31 of them shielded."),
        ("failed", "The gate warmup refused the version: output scores holds NaN."),
        ("failed", "Gates passed: integrity."),
        ("first", "from nothing to 2@e278"),
        ("first", "is succeeded: the model's first version serves."),
    ],
)
def test_the_numbers_it_rests_on(situation: str, words: str) -> None:
    """Where it is, who decided it, what was counted, what is missing and what people can do."""
    assert any(words in sentence for sentence in told(situation)), told(situation)
