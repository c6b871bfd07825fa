"""From an event to the eye: how long it takes until the dashboard shows what the journal holds.

    python benchmarks/dashboard.py [TIMES]

A real server under load, a real browser with one page. A rollout is paused and resumed; each time counts from the
moment that the journal gave the event to the first frame after the page's word for the phase has changed. Both clocks
are the machine's. Figures come as JSON lines.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from typing import Any

from playwright.sync_api import Page, sync_playwright

from changeover.demo import digits
from rig import Server, emit, median, verdict
from screenshots import CHROMIUM, PLAN, at_step, traffic

REACH_MS = 300.0
_WATCH = """
window.seen = [];
const place = document.querySelector('.rollout');
const word = () => place.querySelector('.badge').textContent.trim();
let last = word();
new MutationObserver(() => {
  if (word() === last) return;
  last = word();
  const now = last;
  requestAnimationFrame(() => window.seen.push([now, Date.now()]));
}).observe(place, {subtree: true, childList: true, characterData: true});
"""


def lag(server: Server, page: Page, verb: str, phase: str) -> float:
    """Milliseconds from the event to the frame that shows it."""
    before = page.evaluate("window.seen.length")
    told: dict[str, Any] = server.post(f"/v1/models/digits/rollout/{verb}")
    page.wait_for_function("n => window.seen.length > n", arg=before)
    word, at = page.evaluate("window.seen.at(-1)")
    if word.lower() != phase:
        raise SystemExit(f"the page shows {word}, the rollout is {phase}")
    moment = next(one for one in reversed(told["history"]) if one["phase"] == phase)
    return float(at) - datetime.fromisoformat(moment["at"]).timestamp() * 1000


def main() -> int:
    """Measure."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("times", type=int, nargs="?", default=60)
    times = arguments.parse_args().times
    with (
        Server({"digits": digits.model_bytes("1")}, {"digits": PLAN}) as server,
        traffic(server.port, {"digits": 100.0}),
        sync_playwright() as playwright,
    ):
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        page.goto(f"http://127.0.0.1:{server.control}/ui#/models/digits")
        server.push("digits", 2, digits.model_bytes("2"), PLAN)
        at_step(server, "digits", "25%")
        page.locator(".rollout .badge", has_text="Progressing").first.wait_for()
        page.evaluate(_WATCH)
        lags = []
        for turn in range(times):
            lags.append(lag(server, page, *(("pause", "paused"), ("resume", "progressing"))[turn % 2]))
            time.sleep(0.2 + (turn % 7) * 0.05)  # at any moment between two samples
    worst = sorted(lags)[round(len(lags) * 0.95) - 1]
    found = median(lags)
    emit("event_to_eye_ms", met=found <= REACH_MS, median=found, p95=round(worst, 1), times=times, reach=REACH_MS)
    return verdict()


if __name__ == "__main__":
    raise SystemExit(main())
