"""The plan of a model: `model.yaml` beside its versions, or the same sent inline. Pure.

Everything has a default, so no file at all is a plan too. A field that is not known is refused by its name: a
misspelt limit must never be silently without effect.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec.structs import replace

from changeover.errors import InvalidPlan
from changeover.interface.steps import Step
from changeover.rollout import plan_sequence
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.rollout.plan_gates import GatesPlan
from changeover.rollout.plan_quantities import quantified
from changeover.rollout.plan_rollout import RolloutPlan
from changeover.rollout.triton_config import beneath
from changeover.rollout.yaml_text import line_of, read_yaml
from changeover.sequences.declared import Declared
from changeover.transport.session_options import DEFAULTS, SessionOptions

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
"""An execution provider of ONNX Runtime; whether it is installed shows when a worker loads."""

_UNKNOWN_FIELD: Final = re.compile(r"Object contains unknown field `(.*)`")


class Optimization(enum.StrEnum):
    """Level of ONNX Runtime's graph optimisation."""

    OFF = "off"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


class RuntimePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `runtime`: how a worker runs the model.

    Attributes:
        instances: runner threads of one worker: batches that run at the same time.
        intra_op_threads: threads of one run.
        optimization: of the graph.
        providers: execution providers, by preference.
        max_batch: most rows put together.
        memory_limit: bytes that a worker may take beyond what it starts with; `None` sets none.
        run_timeout: seconds after which a run counts as hung and its worker is killed.
        queue_limit: requests waiting or running in one gateway before more are shed; `None`: the server's setting.
        max_queue_delay: longest expected wait, seconds, before requests are shed; `None`: the server's setting.
        session: options of ONNX Runtime's session and of its runs.
    """

    instances: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    intra_op_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    optimization: Optimization = Optimization.ALL
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(min_length=1)] = ("CPUExecutionProvider",)
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 32
    memory_limit: Annotated[int, msgspec.Meta(ge=1 << 20)] | None = None
    run_timeout: Annotated[float, msgspec.Meta(ge=0.001, le=86400)] = 30.0
    queue_limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    max_queue_delay: Annotated[float, msgspec.Meta(ge=0.001, le=86400)] | None = None
    session: SessionOptions = DEFAULTS

    def __post_init__(self) -> None:
        self.session.check(self.providers, self.intra_op_threads)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that tell these options from any others; part of a loading's name."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole plan.

    Attributes:
        rollout: how a new version takes over.
        runtime: how it runs.
        gates: what it must pass before.
        private: requests of this model are never kept, so no recent traffic is compared.
        labels: names of label files by output, beside the version or the model.
        interface: steps from the model's own inputs and outputs to those that clients use.
        sequence: its sequences, when requests of one client depend on one another; `None`: they do not.
        adaptive: when the server proposes to tune it anew; `true` stands for the defaults, `false` for never.
    """

    rollout: RolloutPlan = RolloutPlan()
    runtime: RuntimePlan = RuntimePlan()
    gates: GatesPlan = GatesPlan()
    private: bool = False
    labels: dict[str, str] = {}
    interface: tuple[Step, ...] = ()
    sequence: Declared | None = None
    adaptive: AdaptivePlan | bool = False

    @property
    def adapts(self) -> AdaptivePlan | None:
        """Section `adaptive` with its defaults; None: nothing is proposed."""
        if isinstance(self.adaptive, bool):
            return AdaptivePlan() if self.adaptive else None
        return self.adaptive

    def to_json(self) -> bytes:
        """The plan with all defaults filled in, durations in seconds and sizes in bytes; `plan_of` reads it."""
        return msgspec.json.encode(self)


def parse_plan(
    text: str | bytes, name: str = "model.yaml", config: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> Plan:
    """The plan of a YAML text; the default plan when it is empty.

    Args:
        text: of the file.
        name: of the file, for messages.
        config: what a `config.pbtxt` says (`triton_config.Understood.plan`), for what the text says nothing of.

    Raises:
        InvalidPlan: `invalid_plan`: file, line, field and what is wrong with it.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError as error:
        raise InvalidPlan(f"{name} is not UTF-8 text.") from error
    value, node = read_yaml(decoded, name)
    return plan_of(beneath(config, {} if value is None else value), name, node)


def plan_of(value: object, name: str = "The plan", node: yaml.Node | None = None) -> Plan:
    """The plan of a value as decoded from JSON or YAML.

    Args:
        value: of the document.
        name: of its source, for messages.
        node: the document's tree when it was YAML, to point at lines.

    Raises:
        InvalidPlan: `invalid_plan`: field and what is wrong with it.
    """
    try:
        plan = msgspec.convert(quantified(value), Plan)
        if plan.sequence is not None:
            plan_sequence.check(plan.sequence)
            plan = replace(plan, rollout=replace(plan.rollout, steps=plan_sequence.climbed(plan.rollout.steps)))
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name, node) from error
    return plan


def _invalid(message: str, name: str, node: yaml.Node | None) -> InvalidPlan:
    what, _, place = message.partition(" - at `")
    path = place.rstrip("`").replace("[...]", "") or "$"  # a key that may be anything
    unknown = _UNKNOWN_FIELD.match(what)
    if unknown:
        line = line_of(node, path, unknown[1])
        field, what = f"{path}.{unknown[1]}", "there is no such field"
    else:
        line, field = line_of(node, path), path
    where = f" line {line}" if line is not None else ""
    about = f" {field.removeprefix('$.')}:" if field != "$" else ""
    return InvalidPlan(f"{name}{where}:{about} {what}.")
