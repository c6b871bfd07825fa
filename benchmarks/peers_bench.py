"""Side by side with other servers: the same model, bodies, cores and load in one run.

    python benchmarks/peers_bench.py [--quick] [--only changeover,triton] [--part throughput] [--cores all]
    python benchmarks/peers_bench.py --markdown        # the last run's tables; --write-docs: into docs/benchmarks.md

Each peer gets a virtual environment of its own under `.venv-peers/`, made at the first run. What cannot be installed
or started is skipped with its reason. JSON lines on stdout and in `bench-results/peers.jsonl`, progress on stderr.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from peers import changes, throughput
from peers.environment import Unavailable
from peers.machine import describe
from peers.markdown import tables, write
from peers.mlserver import MLServer
from peers.model import Model, large, small
from peers.ours import Changeover
from peers.peer import Peer
from peers.restarted import BentoML, LitServe
from peers.triton import Triton
from rig import emit, say, verdict

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench-results" / "peers.jsonl"
PEERS: tuple[Callable[[], Peer], ...] = (Changeover, Triton, MLServer, LitServe, BentoML)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        budget_s: after this long no further peer is begun.
        restarts: changes of a peer that restarts for each; 0 leaves it out.
    """

    rounds: int
    seconds: int
    changes: int
    restarts: int
    budget_s: float


FULL = Plan(rounds=3, seconds=3, changes=10, restarts=3, budget_s=540.0)
QUICK = Plan(rounds=1, seconds=1, changes=2, restarts=0, budget_s=140.0)


class _Tee:
    """Writes to stdout and to the results file."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        """To all."""
        return max(stream.write(text) for stream in self._streams)

    def flush(self) -> None:
        """All."""
        for stream in self._streams:
            stream.flush()


def main() -> int:
    """Run, or print the last run's tables."""
    options = _options()
    if options.markdown or options.write_docs:
        print(tables(RESULTS))
        if options.write_docs:
            write(PAGE, RESULTS)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all servers are ended
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w") as file, redirect_stdout(_Tee(sys.stdout, file)):
        _run(options, QUICK if options.quick else FULL)
    return verdict()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most three minutes when all is installed")
    parser.add_argument("--only", default="", help="some of changeover,triton,mlserver,litserve,bentoml")
    parser.add_argument("--part", choices=("throughput", "changeover"), help="one part instead of both")
    parser.add_argument("--cores", choices=("one", "all"), default="one", help="cores of the server in changeovers")
    parser.add_argument("--envs", type=Path, default=ROOT / ".venv-peers", help="where the environments are kept")
    parser.add_argument("--markdown", action="store_true", help="print the last run's tables and end")
    parser.add_argument("--write-docs", action="store_true", help="also put them into docs/benchmarks.md")
    return parser.parse_args()


def _arguments(options: argparse.Namespace) -> str:
    """What was asked for, without the place of the environments."""
    given = [f"--{key} {getattr(options, key)}" for key in ("only", "part") if getattr(options, key)]
    given += ["--cores all"] if options.cores == "all" else []
    return " ".join((["--quick"] if options.quick else []) + given)


def _run(options: argparse.Namespace, plan: Plan) -> None:
    servers, load, every = _cores()
    peers = _installed([p() for p in PEERS], options)
    command = "make bench-peers" + (f" ARGS='{_arguments(options)}'" if _arguments(options) else "")
    about = describe() | {"versions": {p.title: p.versions() for p in peers}, "command": command}
    emit("peers_about", met=True, **about, load=f"servers on core {servers}, load on core {load}")
    if servers != every:
        os.sched_setaffinity(0, {int(load)})
    until = time.monotonic() + plan.budget_s
    if options.part != "changeover":
        _throughput(peers, plan, servers)
    if options.part != "throughput":
        if options.cores == "all":
            os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
        _changeovers(peers, plan, every if options.cores == "all" else servers, until)


def _cores() -> tuple[str, str, str]:
    """CPU lists of the servers, of the load, and of all."""
    usable = sorted(os.sched_getaffinity(0))
    every = ",".join(map(str, usable))
    if len(usable) < 2:
        say("peers: only one core: servers and load share it")
        return every, every, every
    return str(usable[0]), str(usable[1]), every


def _installed(peers: Sequence[Peer], options: argparse.Namespace) -> list[Peer]:
    wanted = set(filter(None, options.only.split(",")))
    found = []
    for peer in peers:
        if wanted and peer.key not in wanted:
            continue
        try:
            peer.install(options.envs)
            found.append(peer)
        except Unavailable as reason:
            _skip(peer, "installation", str(reason))
    return found


def _skip(peer: Peer, part: str, reason: str) -> None:
    say(f"peers: {peer.title}, {part}: skipped, {reason}")
    emit("peers_skipped", met=True, peer=peer.title, part=part, reason=reason)


def _throughput(peers: Sequence[Peer], plan: Plan, cores: str) -> None:
    """All servers at once, one of them under load at a time."""
    if shutil.which("wrk") is None:
        for peer in peers:
            _skip(peer, "throughput", "wrk is not installed (Debian, Ubuntu: apt-get install wrk)")
        return
    model = small()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        running = [peer for peer in peers if _started(peer, model, cores, stack)]
        if running:
            throughput.measure(running, folder, rounds=plan.rounds, seconds=plan.seconds)


def _started(peer: Peer, model: Model, cores: str, stack: ExitStack) -> bool:
    say(f"peers: starting {peer.title}")
    stack.callback(peer.stop)
    try:
        peer.start(model, cores)
        for form in peer.forms:
            peer.check(form)
    except (OSError, RuntimeError, ValueError) as error:
        _skip(peer, f"start with {model.name}", str(error)[-600:])
        peer.stop()
        return False
    return True


def _changeovers(peers: Sequence[Peer], plan: Plan, cores: str, until: float) -> None:
    """One server at a time."""
    model = large()
    for peer in peers:
        count = plan.restarts if peer.restarts else plan.changes
        if not count or time.monotonic() > until:
            _skip(peer, "changeover", "not in the quick run" if not count else "the time of the run is over")
            continue
        with ExitStack() as stack:
            if _started(peer, model, cores, stack):
                try:
                    changes.measure(peer, count, cores)
                except (OSError, RuntimeError, ValueError) as error:
                    _skip(peer, "changeover", str(error)[-600:])


if __name__ == "__main__":
    sys.exit(main())
