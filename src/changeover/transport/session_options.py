"""Options of ONNX Runtime's sessions and runs: `runtime.session` of a plan, and what a worker is told. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

SessionKey = Literal[
    "mlas.enable_gemm_fastmath_arm64_bfloat16",
    "optimization.enable_gelu_approximation",
    "session.allow_released_opsets_only",
    "session.debug_layout_transformation",
    "session.disable_aot_function_inlining",
    "session.disable_cpu_ep_fallback",
    "session.disable_double_qdq_remover",
    "session.disable_quant_qdq",
    "session.dynamic_block_base",
    "session.enable_dq_matmulnbits_fusion",
    "session.enable_quant_qdq_cleanup",
    "session.force_spinning_stop",
    "session.qdq_matmulnbits_accuracy_level",
    "session.qdqisint8allowed",
    "session.strict_shape_type_inference",
    "session.use_device_allocator_for_initializers",
    "session.x64quantprecision",
]
"""Config entries of a session that may be set by name: those that change how it computes. None that names a file,
writes one, or has an option of its own here; ONNX Runtime takes any name in silence, so others are refused."""
RunKey = Literal["memory.enable_memory_arena_shrinkage", "disable_synchronize_execution_providers"]
"""Config entries of a run."""
_AFFINITIES: Final = re.compile(r"(\d+(-\d+)?(,\d+(-\d+)?)*)(;\d+(-\d+)?(,\d+(-\d+)?)*)*")
Text = Annotated[str, msgspec.Meta(max_length=256)]


class SessionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Section `runtime.session`.

    Attributes:
        arena: the runtime keeps memory that it has used for the next run.
        memory_pattern: it plans the memory of a run ahead, by the first of the same shapes.
        memory_reuse: values of one run share memory.
        execution: operators one after the other, or those that can beside each other.
        inter_op_threads: threads for operators beside each other.
        spinning: threads of a run wait busily for work.
        affinities: processors of each of the run's threads but the first, as `1;2,3;4-5`, counted from 1.
        prepacking: weights are laid out for the processor once more at the load.
        denormal_as_zero: tiny numbers count as 0.
        deterministic: the same sums in the same order, where that can be chosen.
        free_dimensions: sizes of free dimensions by their name.
        config: entries of a session by name.
        run_config: entries of every run by name.
        provider_options: of a provider by name, each with its text.
    """

    arena: bool = True
    memory_pattern: bool = True
    memory_reuse: bool = True
    execution: Literal["sequential", "parallel"] = "sequential"
    inter_op_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    spinning: bool = False
    affinities: Text = ""
    prepacking: bool = True
    denormal_as_zero: bool = False
    deterministic: bool = False
    free_dimensions: dict[Text, Annotated[int, msgspec.Meta(ge=1)]] = {}
    config: dict[SessionKey, Text] = {}
    run_config: dict[RunKey, Text] = {}
    provider_options: dict[Text, dict[Text, Text]] = {}

    def __post_init__(self) -> None:
        if self.affinities and not _AFFINITIES.fullmatch(self.affinities):
            raise ValueError(f"affinities: {self.affinities!r} is no list such as 1;2,3;4-5")
        if self.inter_op_threads > 1 and self.execution == "sequential":
            raise ValueError("inter_op_threads are of execution: parallel")
        if self.run_config.get("memory.enable_memory_arena_shrinkage") and not self.arena:
            raise ValueError("without an arena there is nothing to shrink (memory.enable_memory_arena_shrinkage)")

    def check(self, providers: tuple[str, ...], threads: int) -> None:
        """Let pass what goes with the rest of a plan's `runtime`.

        Raises:
            ValueError: with a sentence that says what does not.
        """
        for name in self.provider_options:
            if name not in providers:
                raise ValueError(f"session.provider_options are for {name!r}, which is not among the providers")
        pinned = len(self.affinities.split(";")) if self.affinities else 0
        if pinned and pinned != threads - 1:
            raise ValueError(
                f"session.affinities name {pinned} threads: of {threads} intra_op_threads all but the first have one"
            )

    @property
    def key(self) -> str:
        """A text that tells these options from any others; `""` for the defaults."""
        return "" if self == DEFAULTS else msgspec.json.encode(self, order="deterministic").decode()


DEFAULTS: Final = SessionOptions()
