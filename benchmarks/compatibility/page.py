"""Tables of a comparison, for people and for the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from changeover import __version__
from compatibility.comparing import Compared
from compatibility.differences import CHOSEN, CONTRACT, REASONS, Reason
from compatibility.recording import Recording

MARKS = ("<!-- oracle: begin -->", "<!-- oracle: end -->")
VERDICTS = ("identical", "explained", "unexplained")
_SHOWN = 90


def figures(compared: Sequence[Compared]) -> dict[str, float]:
    """Counts, and the share of identical answers: of all, and without those that the contract wants otherwise."""
    verdicts = [one.verdict for one in compared]
    counts: dict[str, float] = {word: verdicts.count(word) for word in VERDICTS}
    demanded = sum(bool(set(one.reasons) & set(CONTRACT)) for one in compared)
    shares = {"share": len(compared), "share_without_contract": len(compared) - demanded}
    return {
        "requests": len(compared),
        **counts,
        "demanded_by_contract": demanded,
        **{name: round(counts["identical"] / of, 3) for name, of in shares.items()},
    }


def table(compared: Sequence[Compared]) -> str:
    """How many answers are alike, by protocol and outcome."""
    groups = {
        "HTTP, Triton answers 2xx": [c for c in compared if not _grpc(c) and _fine(c)],
        "HTTP, Triton refuses": [c for c in compared if not _grpc(c) and not _fine(c)],
        "gRPC, Triton answers OK": [c for c in compared if _grpc(c) and _fine(c)],
        "gRPC, Triton refuses": [c for c in compared if _grpc(c) and not _fine(c)],
        "all": list(compared),
    }
    rows = [(name, str(len(group)), *_counts(group)) for name, group in groups.items()]
    return _table(("requests", "sent", *VERDICTS), rows)


def differing(compared: Iterable[Compared]) -> str:
    """Every request whose answers differ, with the facts; and reasons that explain nothing any more."""
    lines = [f"{c.verdict}: {c.name}: {_facts(c)}" for c in compared if c.differences]
    used = {(reason.why, c.name) for c in compared for reason in c.reasons}
    lines += [f"stale: {n}: {r.why}" for r in REASONS for n in sorted(r.requests) if (r.why, n) not in used]
    return "\n".join(lines)


def write(page: Path, recording: Recording, compared: Sequence[Compared]) -> None:
    """Put the comparison between the marks of a page."""
    before, rest = page.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    about = recording.about
    triton = f"Triton 2.51 of nvidia-pytriton {about['nvidia-pytriton']}"
    run = f"Run of {about['date']}, Changeover {__version__} beside {triton}: `python benchmarks/oracle.py`."
    found = figures(compared)
    share, followed, demanded = (found[name] for name in ("share", "share_without_contract", "demanded_by_contract"))
    run += (
        f" {share:.1%} of all answers are identical; {followed:.1%} of those where this project's contract allows what "
        f"Triton does: it wants another answer to {demanded} of the requests, which are the second list."
    )
    lists = [[_section(reason, compared) for reason in reasons] for reasons in (CHOSEN, CONTRACT)]
    parts = [run, table(compared), "### By choice", *lists[0], "### By contract", *lists[1]]
    page.write_text(f"{before}{MARKS[0]}\n" + "\n\n".join(filter(None, parts)) + f"\n{MARKS[1]}{after}")


def _section(reason: Reason, compared: Iterable[Compared]) -> str:
    """A reason, and the requests that it explains, those together whose answers differ alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in compared:
        if reason in one.reasons:
            alike.setdefault(_both(one, reason), []).append(one.name)
    rows = [("; ".join(names), *both) for both, names in alike.items()]
    return f"**{reason.why}.**\n\n{_table(('requests', 'Triton', 'Changeover'), rows)}" if rows else ""


def _both(compared: Compared, reason: Reason) -> tuple[str, str]:
    """The first fact that the reason explains, on either side."""
    fact = next(d for d in compared.differences if reason.covers(d.fact))
    return _cell(fact.fact, fact.theirs), _cell(fact.fact, fact.ours)


def _cell(fact: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    text = text.replace("|", "\\|")
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    text = {"None": "none", "": '""', "-": "not there"}.get(text, text)
    return text if fact in ("status", "code") else f"`{fact}`: {text}"


def _facts(compared: Compared) -> str:
    return "; ".join(f"{d.fact} {str(d.theirs)[:_SHOWN]} -> {str(d.ours)[:_SHOWN]}" for d in compared.differences[:6])


def _grpc(compared: Compared) -> bool:
    return compared.name.startswith("gRPC")


def _fine(compared: Compared) -> bool:
    return compared.fine


def _counts(group: Sequence[Compared]) -> list[str]:
    verdicts = [c.verdict for c in group]
    return [str(verdicts.count(word)) for word in VERDICTS]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
