"""The rules and the board that are shipped: they speak of metrics that there are, and Prometheus' own tool agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from changeover.controller.metrics.names import METRICS

FOLDER = Path(__file__).parents[2] / "examples" / "monitoring"
_NAME = re.compile(r"\bchangeover_\w+")
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_sum", "_count", "_bucket")}
KNOWN = {f"changeover_{n}{end}" for n, kind, *_ in METRICS for end in _SUFFIXES.get(kind, ("_sum", "_count"))}


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """What Prometheus' tool says; Debian's package prometheus has it."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return subprocess.run([tool, *arguments], cwd=folder, text=True, capture_output=True, check=False, timeout=60)


def rules() -> list[dict[str, Any]]:
    """All of them."""
    return [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]


def queries(value: Any) -> list[str]:
    """Every expression of the board."""
    if isinstance(value, list):
        return [query for item in value for query in queries(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in ("expr", "definition") if isinstance(value.get(key), str)]
    return own + queries(list(value.values()))


def board() -> dict[str, Any]:
    """The board."""
    made: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return made


def test_rules_and_board_speak_of_metrics_that_there_are() -> None:
    """No name that the server does not tell."""
    used = {name for text in [*queries(board()), *(rule["expr"] for rule in rules())] for name in _NAME.findall(text)}
    assert len(used) > 15
    assert used <= KNOWN


def test_every_alert_is_what_was_asked_for_and_is_tested() -> None:
    """Each has a severity, sentences, and a case in the tests in which it fires."""
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    wanted = ("CandidateSlow", "LatencyRisen", "Errors", "Memory", "RolloutStuck", "WorkerCrashLoop")
    assert {f"Changeover{name}" for name in wanted} <= alerts.keys()
    for rule in alerts.values():
        assert {"summary", "description"} == rule["annotations"].keys()
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
    cases = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == alerts.keys()


def test_promtool_takes_the_rules() -> None:
    """As they are."""
    done = promtool("check", "rules", "rules.yml")
    assert done.returncode == 0, done.stderr + done.stdout


def test_promtool_sees_every_alert_fire_and_keep_silent() -> None:
    """The cases of `rules_test.yml`: each threshold is crossed, and nearly crossed."""
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_rule_with_another_threshold_fails_its_cases(tmp_path: Path) -> None:
    """The cases can fail: with half the memory allowed, or ten times the errors, they do."""
    shutil.copy(FOLDER / "rules_test.yml", tmp_path)
    for threshold, other in (("> 0.8", "> 0.9"), ("> 0.001", "> 0.01"), ("> 3600", "> 7200"), ("1.5 *", "3 *")):
        text = (FOLDER / "rules.yml").read_text()
        assert threshold in text
        (tmp_path / "rules.yml").write_text(text.replace(threshold, other))
        assert promtool("test", "rules", "rules_test.yml", folder=tmp_path).returncode != 0, threshold


def test_promtool_takes_every_query_of_the_board(tmp_path: Path) -> None:
    """With Grafana's variables filled in, each is an expression."""
    made = [query for query in queries(board()) if not query.startswith("label_values(")]
    filled = [query.replace("$__rate_interval", "1m") for query in made]
    listed = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": listed}]}))
    done = promtool("check", "rules", "board.yml", folder=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"{len(filled)} rules found" in done.stdout


def test_panels_of_the_board_do_not_cover_each_other() -> None:
    """Each has its own place on the grid, a title and a sentence."""
    cells: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        columns, lines = (range(place[a], place[a] + place[b]) for a, b in ("xw", "yh"))
        mine = {(x, y) for x in columns for y in lines}
        assert place["x"] + place["w"] <= 24
        assert not mine & cells
        cells |= mine
        assert panel["type"] == "row" or panel["description"].endswith(".")
