"""Pictures of the dashboard for the documents: `make screenshots`.

    python benchmarks/screenshots.py [--out docs/images]

A real server with four models under load; one of them is at the third step of a canary. What is on the pictures was
measured while they were taken.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from changeover.bench import BenchProcess, LoadSpec
from changeover.demo import digits
from rig import Server, say

CHROMIUM = "/usr/bin/chromium"
RATES = {"digits": 120.0, "forms": 25.0, "meters": 40.0, "parcels": 60.0}
STEPS = "[shadow, {weight: 5%, hold: 20s}, {weight: 25%, hold: 3m}, {weight: 50%, hold: 3m}]"
PLAN = f"""\
rollout: {{strategy: canary, steps: {STEPS}, hold: 12s, min_requests: 100, limits: {{disagreement: 20%}}}}
gates: {{performance: {{max_ratio: 3}}}}
"""
SHOWN_AT = "25%"
BEFORE_S = 15.0
SEEN_S = 40.0
"""Seconds at that step before the pictures, so that the charts show it."""
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "dashboard": ("#/models/digits", {"color_scheme": "light"}),
    "dashboard-dark": ("#/models/digits", {"color_scheme": "dark"}),
    "dashboard-narrow": ("#/models/digits", {"color_scheme": "light", "viewport": {"width": 390, "height": 844}}),
    "dashboard-models": ("", {"color_scheme": "light", "viewport": {"width": 1280, "height": 480}}),
}


@contextmanager
def traffic(port: int, rates: dict[str, float]) -> Iterator[None]:
    """Requests a second to each model, in processes of their own."""
    inputs = {digits.INPUT: digits.load_samples().inputs()}
    with ExitStack() as stack:
        for model, rate in rates.items():
            spec = LoadSpec(model, inputs, port=port, rate=rate, connections=8, duration_s=900.0, binary=True)
            stack.enter_context(BenchProcess(spec))
        yield


def at_step(server: Server, model: str, name: str) -> None:
    """Wait until a rollout is at a step."""
    end = time.monotonic() + 180
    while (found := server.get(f"/v1/models/{model}/rollout"))["phase"] != "failed" and time.monotonic() < end:
        if (found.get("step") or {}).get("name") == name:
            return
        time.sleep(0.2)
    raise SystemExit(f"{model} did not come to {name}: {found['phase']} {found.get('detail')}")


def opened(browser: Any, control: int) -> dict[str, Any]:
    """All pages, from the beginning: their charts show what they have seen."""
    pages = {}
    for name, (place, settings) in PICTURES.items():
        usual = {"viewport": {"width": 1280, "height": 900}, "device_scale_factor": 2}
        pages[name] = browser.new_context(**(usual | settings)).new_page()
        pages[name].goto(f"http://127.0.0.1:{control}/ui{place}")
    return pages


def taken(server: Server, out: Path) -> None:
    """Open the pages, bring version 2 to its step, take the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pages = opened(browser, server.control)
        time.sleep(BEFORE_S)
        say("version 2 is on its way")
        server.push("digits", 2, digits.model_bytes("2"), PLAN)
        at_step(server, "digits", SHOWN_AT)
        time.sleep(SEEN_S)
        for name, page in pages.items():
            page.screenshot(path=out / f"{name}.png")
            say(str(out / f"{name}.png"))
        browser.close()


def main() -> None:
    """Take them all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "images")
    out: Path = arguments.parse_args().out
    models = dict.fromkeys(RATES, digits.model_bytes("1"))
    with Server(models, dict.fromkeys(RATES, PLAN)) as server, traffic(server.port, RATES):
        taken(server, out)


if __name__ == "__main__":
    main()
