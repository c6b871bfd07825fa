"""`python -m changeover.bench SPECFILE`: run a saved `LoadSpec`, one JSON document a line on stdout.

The first line is `{"kind": "started"}`, then one `progress` a second, at the end `result` (or `capacity`). SIGTERM and
SIGINT stop the sending; the result still comes. A number that a pipe on stdin brings is the open loop's rate from then
on. Exit code 0 when the run took place, whatever it found.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import orjson

from changeover.bench.capacity import find_capacity
from changeover.bench.generator import run_load
from changeover.bench.spec import LoadSpec


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m changeover.bench")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--records", type=Path, help="write the row of every request to this .npz")
    parser.add_argument("--find-capacity", action="store_true")
    arguments = parser.parse_args()
    spec = LoadSpec.load(arguments.spec)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    emit({"kind": "started"})
    if arguments.find_capacity:
        emit(find_capacity(spec, stop=stop))
        return
    rates: deque[float] = deque()
    if not os.isatty(0):  # to read a terminal would stop it in the background
        threading.Thread(target=listen, args=(rates,), name="bench-rates", daemon=True).start()
    run = run_load(spec, stop, emit, rates)
    if arguments.records:
        run.records.save(arguments.records)
    emit(run.result)


def listen(rates: deque[float]) -> None:
    """Take the lines of stdin until its end, past Python's buffer: its lock would be held when the process ends."""
    rest = b""
    while piece := os.read(0, 4096):
        *lines, rest = (rest + piece).split(b"\n")
        rates.extend(float(line) for line in lines)


def emit(document: dict[str, Any]) -> None:
    """Write one line; a reader that is gone ends the run."""
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
