"""Options of a session: what a plan may say, and what goes with what."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.plan import parse_plan, plan_of
from changeover.transport.session_options import DEFAULTS, SessionOptions


def test_defaults_say_nothing() -> None:
    """A plan without options is one with the defaults, in its JSON too."""
    assert plan_of({}).runtime.session == DEFAULTS == SessionOptions()
    assert DEFAULTS.key == ""
    assert plan_of({"runtime": {"session": {"arena": True}}}).runtime.session.key == ""


def test_options_are_told_apart() -> None:
    """The key is the same for the same options in any order, and another for others."""
    one, two = ({"free_dimensions": dims} for dims in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    keys = [plan_of({"runtime": {"session": given}}).runtime.session.key for given in (one, two, {"arena": False})]
    assert keys[0] == keys[1] != keys[2]
    digests = {plan_of({"runtime": {"session": given}}).runtime.digest for given in (one, {"arena": False}, {})}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("arenas: true", "runtime.session.arenas: there is no such field"),
        ("affinities: 1;x", "no list such as 1;2,3;4-5"),
        ("affinities: 1;2", "of 1 intra_op_threads all but the first"),
        ("inter_op_threads: 4", "inter_op_threads are of execution: parallel"),
        ("free_dimensions: {N: 0}", "Expected `int` >= 1"),
        ("config: {session.load_model_format: ORT}", "Invalid enum value 'session.load_model_format'"),
        ("provider_options: {CUDAExecutionProvider: {}}", "not among the providers"),
        (
            "config: {session.disable_quant_qdq: 'yes'}",
            'session.disable_quant_qdq takes "0" or "1", and \'yes\' is none',
        ),
        ("config: {session.intra_op.spin_duration_us: '1s'}", "takes a number such as"),
        ("run_config: {memory.enable_memory_arena_shrinkage: 'moon:0'}", "takes arenas such as cpu:0"),
        ("arena_options: {max_mem: 0}", "Expected `int` >= 1"),
        ("arena_options: {max_mem: much}", "is no size such as 512MB or 2GiB"),
        ("arena_options: {extend: 2}", "runtime.session.arena_options.extend: there is no such field"),
        ("{arena: false, arena_options: {max_mem: 1GiB}}", "arena_options are of an arena"),
        ("custom_ops: [../own.so]", "'../own.so' is no name of a library such as libmine.so"),
        ("custom_ops: [/opt/own.so]", "is no name of a library"),
        ("{arena: false, run_config: {memory.enable_memory_arena_shrinkage: 'cpu:0'}}", "nothing to shrink"),
    ],
)
def test_mistakes_have_their_line(given: str, told: str) -> None:
    """An option that is unknown, or does not go with the others, is refused where it stands."""
    text = f"runtime:\n  session:\n    {given}\n"
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(text)
    assert told in caught.value.message
    assert "model.yaml line" in caught.value.message


def test_threads_may_be_pinned() -> None:
    """Each thread but the first has its processors."""
    given: dict[str, Any] = {"intra_op_threads": 3, "session": {"affinities": "1;2-3,5"}}
    assert plan_of({"runtime": given}).runtime.session.affinities == "1;2-3,5"


def test_arenas_and_libraries_of_a_plan() -> None:
    """Sizes in words, names of files; both tell a version's options from others."""
    given = {"arena_options": {"max_mem": "1MiB"}, "custom_ops": ["libown.so.1"]}
    options = plan_of({"runtime": {"session": given}}).runtime.session
    assert (options.arena_options.max_mem, options.custom_ops) == (1 << 20, ("libown.so.1",))
    assert options.key not in ("", SessionOptions(custom_ops=("libown.so.1",)).key)
