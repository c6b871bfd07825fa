"""The same requests to a real Triton and to Changeover, and their answers compared.

    python benchmarks/oracle.py [ENVIRONMENTS] [--write-docs]
    python benchmarks/oracle.py --recorded [--write-docs]      # compare the last run's answers again

Triton runs ONNX models through its Python backend, from a virtual environment that is made under ENVIRONMENTS
(`.venv-peers`) at the first run; Triton's examples are taken from `CHANGEOVER_TEST_DATA`. Answers are kept in
`bench-results/oracle.json`. Figures come as one JSON line, tables on stderr; `--write-docs` writes the differences
and their reasons into `docs/compatibility.md`.
"""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
from pathlib import Path

from compatibility import grpc_requests, http_bad, http_good
from compatibility.comparing import Compared, compare
from compatibility.models import models
from compatibility.page import differing, figures, table, write
from compatibility.recording import Recording, record
from compatibility.servers import Reference, ours, reference
from rig import emit, say, verdict

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
RESULTS = ROOT / "bench-results" / "oracle.json"
REACH = 0.95


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that both servers are ended
    if not options.recorded:
        _record(options.environments).save(RESULTS)
    recording = Recording.read(RESULTS)
    compared = compare(recording)
    say(table(compared))
    say(differing(compared))
    if options.write_docs:
        write(PAGE, recording, compared)
    _figure(compared)
    return verdict()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="?", type=Path, default=ROOT / ".venv-peers", metavar="ENVIRONMENTS")
    parser.add_argument("--recorded", action="store_true", help="start no server, compare the last run's answers")
    parser.add_argument("--write-docs", action="store_true", help="write docs/compatibility.md")
    return parser.parse_args()


def _record(environments: Path) -> Recording:
    requests = [*http_good.requests(), *grpc_requests.requests(), *http_bad.requests()]
    assert len({asked.name for asked in requests}) == len(requests)
    triton = Reference()
    triton.install(environments)
    about = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **triton.versions()}
    served = models()
    theirs = record(lambda: reference(triton, served), requests)
    return Recording(about, theirs, record(lambda: ours(served), requests))


def _figure(compared: list[Compared]) -> None:
    found = figures(compared)
    emit(
        "oracle",
        met=found["share_without_contract"] >= REACH and not found["unexplained"],
        reach=REACH,
        met_by_all=found["share"] >= REACH,
        **found,
    )


if __name__ == "__main__":
    sys.exit(main())
