"""The load generator: requests at a fixed rate or from N callers, every answer timed and checked by its values.

It runs as a process of its own (`python -m changeover.bench SPECFILE`), so that it does not share an interpreter
with what it measures. Latency is counted from the moment a request was *due*: a generator or a server that falls
behind cannot hide it (coordinated omission).
"""

from changeover.bench.capacity import find_capacity
from changeover.bench.generator import run_load
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec

__all__ = ["BenchProcess", "LoadSpec", "Records", "find_capacity", "run_load"]
