"""All benches, one after the other; figures as JSON lines on stdout, progress on stderr.

python benchmarks/run.py [--quick]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FULL = (
    ("throughput.py", "5"),
    ("grpc_throughput.py", "5"),
    ("replacement.py", "5"),
    ("changeovers.py", "100"),
    ("kills.py", "100"),
    ("crash_points.py", "600"),
    ("full_disk.py", "10"),
    ("felt.py", "30"),
    ("split.py", "10000"),
    ("shadow.py", "--pairs", "30"),
    ("overload.py", "10"),
    ("rehearse.py", "--runs", "20"),
    ("aa_rollouts.py", "--runs", "20"),
    ("alerts.py", "500"),
    ("many_models.py", "1", "10", "25", "50"),
    ("adapters.py", "20"),
    ("cached_load.py", "10"),
    ("proof_cost.py", "20"),
    ("push_cost.py", "20"),
    ("tune.py", "120"),
    ("shared_weights.py", "2"),
    ("sequences.py", "1000", "100"),
    ("clients.py",),
    ("observation.py",),
    ("quantiles.py",),
    ("scrape.py", "10"),
    ("alerts_cost.py",),
    ("metrics_counts.py", "5"),
    ("dashboard.py", "60"),
    ("hostile.py", "100000"),
)
QUICK = (
    ("throughput.py", "1"),
    ("grpc_throughput.py", "1"),
    ("replacement.py", "1"),
    ("changeovers.py", "10", "--felt", "2"),
    ("kills.py", "3"),
    ("crash_points.py", "60"),
    ("full_disk.py", "1"),
    ("felt.py", "3"),
    ("split.py", "3200"),
    ("shadow.py", "--pairs", "2"),
    ("overload.py", "4"),
    ("rehearse.py", "--runs", "1"),
    ("aa_rollouts.py", "--runs", "2"),
    ("alerts.py", "50"),
    ("many_models.py", "1", "10"),
    ("adapters.py", "3"),
    ("cached_load.py", "2"),
    ("proof_cost.py", "5"),
    ("push_cost.py", "3", "--loads", "idle"),
    ("tune.py", "10", "digits"),
    ("shared_weights.py", "1"),
    ("sequences.py", "100", "30"),
    ("clients.py",),
    ("observation.py",),
    ("quantiles.py",),
    ("scrape.py", "1"),
    ("alerts_cost.py",),
    ("metrics_counts.py", "1"),
    ("dashboard.py", "6"),
    ("hostile.py", "2000"),
)


def main() -> int:
    """Run; the exit code is the number of benches that failed."""
    failed = 0
    for script, *arguments in QUICK if "--quick" in sys.argv else FULL:
        command = [sys.executable, str(Path(__file__).parent / script), *arguments]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
