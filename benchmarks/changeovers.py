"""Changeovers at 0.9 of capacity: every request counted, every answer checked; then the switch in numbers.

python benchmarks/changeovers.py [CHANGEOVERS] [SECONDS_BETWEEN] [--gateways N]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from changeover.bench.process import BenchProcess
from felt import capacity, counts, small, spec_for
from household import Household
from rig import Server, emit, median, say, verdict

SHARE = 0.9


def main(changeovers: int, between: float, gateways: int) -> None:
    """Run and print."""
    subject = small()
    rollouts: list[str] = []
    arguments = ["--gateways", str(gateways)] if gateways else []
    with Server({subject.name: subject.versions[0]}, arguments=arguments) as server:
        running = len(Household(server.process.pid, server.port).pids("gateway"))
        spec = spec_for(subject, server.port, changeovers)
        found = capacity(spec)
        load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=3600.0, connections=256)
        with BenchProcess(load) as bench:
            started = time.monotonic()
            for number in range(changeovers):
                rollout = server.push(subject.name, number + 2, subject.versions[(number + 1) % 2])
                assert server.finished(rollout)["phase"] == "succeeded"
                rollouts.append(rollout)
                time.sleep(between)
                if (number + 1) % 10 == 0:
                    say(f"changeovers: {number + 1} of {changeovers}")
            seconds = time.monotonic() - started
            bench.stop()
            result = bench.result(120)
        time.sleep(6)  # the last certificate needs the seconds after its switch
        certificates = [server.certificate(r) for r in rollouts]
    answered = len(result["versions"])
    clean = bool(result["clean"]) and answered == changeovers + 1
    emit("changeovers", met=clean, count=changeovers, seconds=round(seconds, 1), capacity=round(found), share=SHARE,
         versions_that_answered=answered, clean=result["clean"], **counts(result),
         shed=result["shed"], gateways=running,
         p50_ms=result["latency_ms"]["p50"], p99_ms=result["latency_ms"]["p99"],
         reach="0 failed, 0 wrong, 0 stale, 0 shed")  # fmt: skip
    switches = [c["switch"] for c in certificates]
    acks = sorted(s["last_ack_ms"] for s in switches)
    stale = sum(s["stale_picks"] for s in switches)
    emit("switch", met=stale == 0 and median(acks) <= 5, count=len(switches), stale_picks=stale,
         last_ack_ms_p50=median(acks), last_ack_ms_max=acks[-1],
         store_ns_p50=median([s["store_ns"] for s in switches]),
         journal_ms_p50=median([s["journal_ms"] for s in switches]),
         prepare_ms_p50=median([s["prepare_ms"] for s in switches]),
         reach="0 stale picks, last acknowledgement p50 <= 5 ms")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="changeovers.py")
    parser.add_argument("changeovers", type=int, nargs="?", default=100)
    parser.add_argument("seconds_between", type=float, nargs="?", default=0.3)
    parser.add_argument("--gateways", type=int, default=0, metavar="N", help="default: as the server")
    given = parser.parse_args()
    main(given.changeovers, given.seconds_between, given.gateways)
    sys.exit(verdict())
