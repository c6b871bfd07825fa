"""Message types are made ready before threads decode them."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from changeover import structs
from changeover.controller import process

ROUNDS = """
    import sys
    import threading

    import msgspec

    from changeover import structs

    sys.setswitchinterval(1e-6)
    text = msgspec.json.encode({f"g{k}": {f"f{n}": n for n in range(8)} for k in range(4)})
    for number in range(ROUNDS):
        fields = [(f"f{n}", int | None, None) for n in range(8)]
        inner = [msgspec.defstruct(f"Inner{k}", fields, module="changeover.test") for k in range(4)]
        fields = [(f"g{k}", inner[k] | None, None) for k in range(4)]
        outer = msgspec.defstruct("Outer", fields, module="changeover.test")
        if BUILT:
            structs.build()
        together = threading.Barrier(4)
        call = lambda: (together.wait(), msgspec.json.decode(text, type=outer))
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""


def test_all_messages_of_a_controller_are_ready_when_it_begins() -> None:
    """Those that its threads decode first above all: a rollout's certificate, a table."""
    assert process.structs is structs
    assert {"Certificate", "Step", "RoutingTable", "ProverStatus", "StartBody", "Plan"} <= set(structs.build())


@pytest.mark.parametrize(("built", "rounds", "code"), [(True, 200, 0), (False, 5000, -signal.SIGSEGV)])
def test_threads_that_decode_a_type_for_the_first_time(built: bool, rounds: int, code: int) -> None:
    """Without it they kill the process; when msgspec does no more, all of this can go."""
    script = textwrap.dedent(ROUNDS).replace("ROUNDS", str(rounds)).replace("BUILT", str(built))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=120)
    assert ended.returncode == code, ended.stderr.decode()[-2000:]
