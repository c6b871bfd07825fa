"""Options of ONNX Runtime's sessions and runs: `runtime.session` of a plan, and what a worker is told. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

SessionKey = Literal[
    "mlas.enable_gemm_fastmath_arm64_bfloat16",
    "mlas.use_lut_gemm",
    "optimization.constant_folding_max_output_size_in_bytes",
    "optimization.disable_specified_optimizers",
    "optimization.enable_cast_chain_elimination",
    "optimization.enable_gelu_approximation",
    "session.allow_released_opsets_only",
    "session.debug_layout_transformation",
    "session.disable_aot_function_inlining",
    "session.disable_cpu_ep_fallback",
    "session.disable_double_qdq_remover",
    "session.disable_qdq_constant_folding",
    "session.disable_quant_qdq",
    "session.dynamic_block_base",
    "session.enable_dq_matmulnbits_fusion",
    "session.enable_quant_qdq_cleanup",
    "session.force_spinning_stop",
    "session.graph_optimizations_loop_level",
    "session.inter_op.spin_backoff_max",
    "session.inter_op.spin_duration_us",
    "session.intra_op.spin_backoff_max",
    "session.intra_op.spin_duration_us",
    "session.qdq_matmulnbits_accuracy_level",
    "session.qdq_matmulnbits_block_size",
    "session.qdqisint8allowed",
    "session.strict_shape_type_inference",
    "session.use_device_allocator_for_initializers",
    "session.x64quantprecision",
]
"""Config entries of a session that may be set by name: those that change how it computes. None that names a file,
writes one, or has an option of its own here; ONNX Runtime takes any name in silence, so others are refused."""
RunKey = Literal["memory.enable_memory_arena_shrinkage", "disable_synchronize_execution_providers"]
"""Config entries of a run."""
_NUMBER: Final = re.compile(r"\d{1,18}"), 'a number such as "128"'
_SWITCH: Final = re.compile(r"[01]"), '"0" or "1"'
_FORMS: Final = {
    "memory.enable_memory_arena_shrinkage": (re.compile(r"(cpu|gpu):\d+(;(cpu|gpu):\d+)*"), "arenas such as cpu:0"),
    "optimization.constant_folding_max_output_size_in_bytes": _NUMBER,
    "optimization.disable_specified_optimizers": (re.compile(r"\w+(;\w+)*"), "names of optimizers with ; between"),
    "session.dynamic_block_base": _NUMBER,
    "session.graph_optimizations_loop_level": _NUMBER,
    "session.inter_op.spin_backoff_max": _NUMBER,
    "session.inter_op.spin_duration_us": _NUMBER,
    "session.intra_op.spin_backoff_max": _NUMBER,
    "session.intra_op.spin_duration_us": _NUMBER,
    "session.qdq_matmulnbits_accuracy_level": (re.compile(r"[0-4]"), "a number from 0 to 4"),
    "session.qdq_matmulnbits_block_size": _NUMBER,
}
"""What the values of entries look like; those of all others are switches."""
_LIBRARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.so[0-9.]*")
_AFFINITIES: Final = re.compile(r"(\d+(-\d+)?(,\d+(-\d+)?)*)(;\d+(-\d+)?(,\d+(-\d+)?)*)*")
Text = Annotated[str, msgspec.Meta(max_length=256)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


class ArenaOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Section `runtime.session.arena_options`: how the arena grows, as ONNX Runtime names it; sizes in bytes.

    Attributes:
        arena_extend_strategy: it grows by what is asked for, or by twice as much each time.
        max_mem: most that it takes; a run that needs more fails (`out_of_memory`).
        initial_chunk_size_bytes: its first piece.
        initial_growth_chunk_size_bytes: its next one, after all were given back.
        max_power_of_two_extend_bytes: largest piece that doubling leads to.
        max_dead_bytes_per_chunk: most of a piece that may lie idle before the piece is split.
    """

    arena_extend_strategy: Literal["kNextPowerOfTwo", "kSameAsRequested"] = "kNextPowerOfTwo"
    max_mem: Size | None = None
    initial_chunk_size_bytes: Size | None = None
    initial_growth_chunk_size_bytes: Size | None = None
    max_power_of_two_extend_bytes: Size | None = None
    max_dead_bytes_per_chunk: Size | None = None


GROWTH: Final = ArenaOptions()


class SessionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Section `runtime.session`.

    Attributes:
        arena: the runtime keeps memory that it has used for the next run.
        arena_options: how much of it, and how it grows.
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
        custom_ops: libraries with operators, by their file's name in the server's folder of those (`custom_ops`).
    """

    arena: bool = True
    arena_options: ArenaOptions = GROWTH
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
    custom_ops: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        if self.affinities and not _AFFINITIES.fullmatch(self.affinities):
            raise ValueError(f"affinities: {self.affinities!r} is no list such as 1;2,3;4-5")
        if self.inter_op_threads > 1 and self.execution == "sequential":
            raise ValueError("inter_op_threads are of execution: parallel")
        if self.run_config.get("memory.enable_memory_arena_shrinkage") and not self.arena:
            raise ValueError("without an arena there is nothing to shrink (memory.enable_memory_arena_shrinkage)")
        if self.arena_options != GROWTH and not self.arena:
            raise ValueError("arena_options are of an arena, and arena is false")
        for name in self.custom_ops:
            if not _LIBRARY.fullmatch(name):
                raise ValueError(f"custom_ops: {name!r} is no name of a library such as libmine.so")
        for name, value in (*self.config.items(), *self.run_config.items()):
            form, told = _FORMS.get(name, _SWITCH)
            if not form.fullmatch(value):
                raise ValueError(f"{name} takes {told}, and {value!r} is none")

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
