"""The rules of the alarms."""

from __future__ import annotations

from changeover.controller.alarms.condition import RULES, Key
from changeover.controller.alarms.past import SLICE


def test_the_three_thresholds_fire_in_time() -> None:
    """A look a second, after the second itself and a report's delay: at most four seconds for each."""
    for alert in ("latency_over_other", "latency_over_past", "errors", "memory"):
        assert 1 + RULES[alert].hold <= 4
        assert RULES[alert].clear > RULES[alert].hold


def test_an_anomaly_is_over_when_several_scores_say_so() -> None:
    """One lasts as long as it takes to make the next: with a single good one the alarm would come and go."""
    for alert in ("latency_anomaly", "errors_anomaly"):
        assert RULES[alert].clear >= 3 * SLICE


def test_a_key_says_which() -> None:
    """Alert, model and version, as far as there are any."""
    assert (str(Key("errors", "m", "4")), str(Key("memory"))) == ("errors/m/4", "memory")
