"""Settings that are tried."""

from __future__ import annotations

from changeover.rollout.plan import Optimization, RuntimePlan
from changeover.transport.session_options import SessionOptions
from changeover.workbench.tuning.wish import Setting, Space, Wish, settings, without

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]


def test_latency_is_of_one_row() -> None:
    """Precision, level and threads are tried; instances and batch stay, and the default is not among them."""
    found = settings(Wish(cores=2), CPU, batchable=True)
    assert len(found) == 4 * 4 * 2 - 1
    assert Setting() not in found
    assert {one.instances for one in found} == {1}
    assert {one.max_batch for one in found} == {32}
    assert {one.providers for one in found} == {("CPUExecutionProvider",)}
    assert found[0].level == "all"


def test_throughput_is_of_batches_and_instances() -> None:
    """No more threads than processors in all, however they are spread."""
    found = settings(Wish("throughput", cores=4), CPU, batchable=True)
    assert {one.threads * one.instances for one in found} == {1, 2, 4}
    assert {one.max_batch for one in found} == {1, 8, 32, 128}
    assert all(one.threads * one.instances <= 4 for one in found)


def test_a_model_without_rows_has_no_batches() -> None:
    """Its batch is what the plan says."""
    found = settings(Wish("throughput", cores=1, base=RuntimePlan(max_batch=16)), CPU, batchable=False)
    assert {one.max_batch for one in found} == {16}


def test_what_was_asked_for_is_tried() -> None:
    """Lists of the caller count, also where they ask for more threads than there are processors."""
    space = Space(("fp32",), ("off", "all"), (1, 8), (2,), (4,))
    found = settings(Wish("memory", space=space, cores=2), CPU, batchable=True)
    assert [str(one) for one in found] == [
        "fp32, all, 1 thread, 2 instances, max batch 4",
        "fp32, all, 8 threads, 2 instances, max batch 4",
        "fp32, off, 1 thread, 2 instances, max batch 4",
        "fp32, off, 8 threads, 2 instances, max batch 4",
    ]


def test_a_graphics_processor_is_tried_where_there_is_one() -> None:
    """With the processor behind it for what it cannot do."""
    found = settings(Wish(), ["CUDAExecutionProvider", *CPU], batchable=True)
    assert {one.providers for one in found} == {
        ("CPUExecutionProvider",),
        ("CUDAExecutionProvider", "CPUExecutionProvider"),
    }
    assert any("CUDA" in str(one) for one in found)


def test_the_default_is_the_plan_s() -> None:
    """What the plan runs now is what is compared with, and options that are not tuned stay."""
    base = RuntimePlan(
        optimization=Optimization.BASIC, intra_op_threads=3, session=SessionOptions(affinities="1;2"), run_timeout=5.0
    )
    wish = Wish(base=base, cores=4)
    assert wish.default == Setting(level="basic", threads=3)
    assert {one.threads for one in settings(wish, CPU, batchable=True)} == {3}  # each of them is pinned
    after = Setting(level="all", threads=3, max_batch=8).under(base)
    assert (after.optimization, after.max_batch, after.run_timeout) == (Optimization.ALL, 8, 5.0)
    assert after.session.affinities == "1;2"


def test_a_precision_that_cannot_be_had_is_not_tried() -> None:
    """It is left out of the wish."""
    found = settings(without(Wish(), "fp16"), CPU, batchable=True)
    assert {one.precision for one in found} == {"fp32", "int8_dynamic", "int8_static"}
