"""`python -m changeover.supervisor SETTINGS`: a server's main process. SETTINGS is a JSON object of `Settings`.

`changeover serve` becomes this program (exec), so that the parent of all holds nothing but the standard library.
"""

from __future__ import annotations

import json
import sys

from changeover.errors import ChangeoverError
from changeover.settings import Settings
from changeover.supervisor.process import run
from changeover.telemetry import logs


def main() -> int:
    """Serve; the exit code is 0 after a clean stop, 2 when the server cannot start."""
    settings = Settings(**json.loads(sys.argv[1]))
    logs.configure(verbose=settings.verbose, form=settings.log_format, process="supervisor")
    try:
        return run(settings)
    except ChangeoverError as error:
        sys.stderr.write(f"changeover: {error.message} [{error.reason}]\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
