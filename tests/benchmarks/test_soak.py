"""The soak itself, of a few seconds: a kill of each role, the report, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from changeover.testing import wait_for
from tests.benchmarks.conftest import BENCHMARKS


class Soak:
    """A soak as a child process; remembers every process that was ever below it."""

    def __init__(self, folder: Path, duration: str) -> None:
        command = [sys.executable, str(BENCHMARKS / "soak.py"), "--duration", duration, "--gateways", "2"]
        command += ["--rate", "150", "--seed", "7", "--out", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._seen: dict[int, psutil.Process] = {}
        self._thread = threading.Thread(target=self._remember, daemon=True)
        self._thread.start()

    def _remember(self) -> None:
        while self.process.poll() is None:
            self.titles()
            time.sleep(0.1)

    def titles(self) -> list[str]:
        """What its descendants are called now."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
            self._seen.update({child.pid: child for child in found})
            return [" ".join(child.cmdline()) for child in found]
        except psutil.Error:
            return []

    def left(self) -> list[int]:
        """Descendants that live, after the end."""
        self._thread.join()
        assert len(self._seen) >= 6
        return [pid for pid, p in self._seen.items() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def figures(output: str) -> dict[str, dict[str, Any]]:
    return {line["figure"]: line for line in map(json.loads, output.splitlines())}


@pytest.mark.slow
def test_a_short_soak_with_a_kill_of_each_role(tmp_path: Path) -> None:
    """No request fails or is wrong, only held connections break, every role is replaced, and the report tells it."""
    soak = Soak(tmp_path, "6")
    output, progress = soak.process.communicate(timeout=280)
    found = figures(output)
    for name in ("requests", "broken_by_kill", "kills"):
        assert found[name]["met"], (found[name], progress)
    assert set(found["kills"]["killed"]) == {"worker", "controller", "gateway", "zygote"}
    assert found["changeovers"]["succeeded"] > 0
    written = json.loads((tmp_path / "soak.json").read_text())
    assert written["figures"] == list(found.values())
    assert "gateway killed, replaced" in (tmp_path / "soak.html").read_text()
    assert soak.left() == []


@pytest.mark.slow
def test_an_interrupted_soak_reports_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends it with the report of what was seen, and no process stays."""
    soak = Soak(tmp_path, "10m")
    wait_for(lambda: any("worker small_cnn/3" in title for title in soak.titles()), "a changeover", patience=60)
    soak.process.send_signal(signal.SIGINT)
    soak.process.communicate(timeout=120)
    assert json.loads((tmp_path / "soak.json").read_text())["stopped_early"]
    wait_for(lambda: not soak.left(), "all processes to end", patience=5)
