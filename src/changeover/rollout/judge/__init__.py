"""The judge: two versions side by side, and whether what is seen is chance. Pure; see docs/judge.md.

Every test here is an *e-process*: the capital of a gambler who bets, in a game that is fair or worse as long as the
candidate is no worse than its limit, that it is. By Ville's inequality such capital ever reaches 1/alpha with a chance
of at most alpha, however often one looks. References are in the files; `betting` is the place to start.
"""

from __future__ import annotations

from changeover.rollout.judge.explain import sentences
from changeover.rollout.judge.findings import Finding, Limits, Ruling, Verdict
from changeover.rollout.judge.verdict import Judge

__all__ = ["Finding", "Judge", "Limits", "Ruling", "Verdict", "sentences"]
