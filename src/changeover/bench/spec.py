"""What a load run does: one frozen value, kept in one file for the process that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from changeover.errors import InvalidRequest

Array = NDArray[Any]
Mode = Literal["open", "closed"]
Arrivals = Literal["constant", "poisson"]


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """A load run, complete.

    Attributes:
        model: name of the model that is asked.
        inputs: by input name, samples on the first axis, of equal number. Request i sends sample i (mod number).
        expected: by version, the right values of one output for each sample (samples on the first axis). Empty:
            answers are only timed. A version that is not in here but answers with another's values is wrong.
        output: name of the output that `expected` is about; empty: the first one of an answer.
        tolerance: absolute and relative difference up to which values count as equal.
        order: versions in the order in which they must come, each once, for the count of stale answers. Empty: taken
            from the epochs in the answers' headers.
        mode: "open" sends at `rate` whatever the answers do; "closed" keeps one request in flight per connection.
        rate: requests per second (open).
        arrivals: even gaps, or exponential ones (open).
        connections: callers (closed), or the most connections open at a time (open).
        duration_s: how long requests are sent; answers are waited for afterwards.
        requests: stop after so many; 0: no bound.
        binary: tensors as raw bytes both ways instead of JSON numbers.
        fresh: fraction of requests that open a connection of their own and close it after the answer.
        version: ask for this version; empty: let the server choose.
        batched: send a sample with a first dimension of 1 in front; False: as it is.
        headers: further request headers.
        retries: how often a request is sent again, each time on a new connection, after its connection was cut.
        keep_rows: keep the row of every request until the end; False folds them into sums once a second, for runs
            of hours.
        timeout_s: a request without an answer so long after it was given a connection has failed, and one that waited
            so long for a connection.
        seed: of the random choices (arrivals, fresh connections).
    """

    model: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array] = field(default_factory=dict)
    output: str = ""
    tolerance: float = 1e-3
    order: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    mode: Mode = "open"
    rate: float = 100.0
    arrivals: Arrivals = "constant"
    connections: int = 32
    duration_s: float = 10.0
    requests: int = 0
    binary: bool = True
    fresh: float = 0.0
    version: str = ""
    batched: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    retries: int = 0
    keep_rows: bool = True
    timeout_s: float = 30.0
    seed: int = 1

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise InvalidRequest(problem, reason="invalid_load")

    @property
    def samples(self) -> int:
        """Number of different requests."""
        return min(len(values) for values in self.inputs.values())

    def save(self, path: Path) -> None:
        """Write the spec as an .npz without pickles; arrays used for several versions are written once."""
        arrays: dict[int, Array] = {}
        plain: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("inputs", "expected"):
                plain[f.name] = {name: str(id(array)) for name, array in value.items()}
                arrays.update({id(array): array for array in value.values()})
            else:
                plain[f.name] = value
        text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, spec=text, **{str(key): array for key, array in arrays.items()})

    @classmethod
    def load(cls, path: Path) -> LoadSpec:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        plain = json.loads(arrays.pop("spec").tobytes())
        for name in ("inputs", "expected"):
            plain[name] = {key: arrays[array] for key, array in plain[name].items()}
        plain["order"] = tuple(plain["order"])
        plain["headers"] = tuple((name, value) for name, value in plain["headers"])
        return cls(**plain)


def _problem(spec: LoadSpec) -> str:
    """Return what is wrong with the spec, or an empty text."""
    lengths = {len(values) for values in spec.inputs.values()}
    checks = (
        (not spec.inputs, "a load run needs at least one input array"),
        (len(lengths) > 1, "all input arrays need the same number of samples on the first axis"),
        (0 in lengths, "the input arrays hold no samples"),
        (any(len(v) < min(lengths, default=0) for v in spec.expected.values()), "`expected` has too few samples"),
        (spec.mode not in ("open", "closed"), "mode is open or closed"),
        (spec.arrivals not in ("constant", "poisson"), "arrivals are constant or poisson"),
        (spec.mode == "open" and spec.rate <= 0, "an open loop needs a rate above 0"),
        (spec.connections < 1, "at least one connection is needed"),
        (spec.retries < 0, "the number of retries is 0 or more"),
        (spec.duration_s <= 0, "the duration must be above 0 seconds"),
        (not 0 <= spec.fresh <= 1, "the fraction of fresh connections is between 0 and 1"),
        (len(set(spec.order)) < len(spec.order), "`order` names a version twice; leave it empty to go by epochs"),
    )
    return next((sentence for wrong, sentence in checks if wrong), "")
