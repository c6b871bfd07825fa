"""`changeover rehearse`: what would a plan do with a bad candidate? Tried on a private server, under load."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from changeover.cli.exits import Exit, Usage
from changeover.cli.options import ModelName, Output, grouped
from changeover.cli.output import Format, say, show
from changeover.cli.rehearse_view import outcome_line, rehearsal_table

if TYPE_CHECKING:
    from changeover.bench import LoadSpec
    from changeover.rehearsal.cases import Case
    from changeover.rehearsal.outcome import Outcome
    from changeover.rehearsal.plan import Script
    from changeover.rehearsal.stage import Acted, Stage

Document = dict[str, Any]

GENERATED = "generated"
_PLAN = "model.yaml"
_MODEL = "model.onnx"
_GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is rehearsed: a version, the plan as it will run, and the golden set that stands beside the model."""

    name: str
    version: Path
    script: Script
    golden: Path | None


@dataclass(frozen=True, slots=True)
class Clients:
    """Who asks meanwhile."""

    traffic: Annotated[
        str, typer.Option(metavar="FILE.npz|generated", help="Recorded inputs, as for `changeover bench --input`.")
    ] = GENERATED
    rate: Annotated[float, typer.Option(min=1, metavar="R", help="Requests a second.")] = 300.0
    deadline: Annotated[float, typer.Option(min=0.05, metavar="S", help="Seconds that each client gives.")] = 2.0

    @property
    def samples(self) -> Path | None:
        """The file of recorded inputs; None when they are made up."""
        return None if self.traffic == GENERATED else Path(self.traffic)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, by which plan."""

    plan: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A model.yaml; default: the model's own.")
    ] = None
    kinds: Annotated[
        str | None, typer.Option(metavar="KIND[@MOMENT],...", help="Candidates to try; default: one of every kind.")
    ] = None
    runs: Annotated[int, typer.Option(min=1, metavar="N", help="Candidates of every kind.")] = 1
    hold: Annotated[
        str | None, typer.Option(metavar="TIME", help="Hold every step for so long, such as 2s; default: the plan's.")
    ] = None
    timeout: Annotated[float, typer.Option(min=1, metavar="S", help="Give a candidate up after so long.")] = 1800.0


@grouped
def rehearse(
    name: ModelName,
    trial: Trial,
    clients: Clients,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", exists=True, help="An .onnx file or a version's folder; default: as below."),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Try a plan against candidates that go wrong on purpose; exit 0 only if each met its fate.

    A private server on loopback serves the model under load. Then the same bytes come as version 2, 3, … through the
    real plan: one healthy candidate, and one each that becomes slow, errs, answers NaN or wrong labels, leaks, crashes
    or hangs. What your servers do is not touched. KIND is `healthy`, `slow`, `error`, `nan`, `labels`, `leak`, `crash`
    or `hang`; MOMENT is when the fault begins: `load`, `shadow`, `canary` or `watching`.

    Without FILE it is the highest version of the model in the repository that `changeover.yaml` or
    CHANGEOVER_REPOSITORY names. With the times of a real plan a rehearsal takes minutes; --hold shortens them.

    For example:

        changeover rehearse digits models/digits/2 --traffic recorded.npz

        changeover rehearse digits digits.onnx --plan canary.yaml --hold 2s --kinds healthy,slow,labels@load --runs 3
    """
    subject = _subject(name, file, trial.plan, trial.hold)
    for change in subject.script.changes:
        say(f"note: {change}")
    with _ended_in_order():
        outcomes = list(perform(subject, _cases(trial.kinds, trial.runs), clients, trial.timeout))
    document = _document(subject, clients, outcomes)
    show(document, output, lambda: rehearsal_table(document))
    return Exit.DONE if document["passed"] else Exit.REFUSED


def perform(subject: Subject, cases: list[Case], clients: Clients, timeout: float) -> Iterator[Outcome]:
    """Bring the candidates, one after the other, and tell of each on stderr; the server ends with the iteration.

    Each is told of when the next one has acted, for its certificate takes seconds.
    """
    from changeover.cli.client import ControlClient
    from changeover.rehearsal.plan import memory_limit
    from changeover.rehearsal.stage import Play, Stage
    from changeover.scratch import scratch_folder

    with scratch_folder("rehearsal") as folder:
        version = folder / "repository" / subject.name / "1"
        play = Play(
            subject.name, cases, lambda repository: _fill(repository / subject.name, subject),
            lambda: _packed(version), memory_limit(subject.script.plan), timeout, clients.deadline,
        )  # fmt: skip
        say(f"starting a private server with {subject.name} …")
        with Stage(play, folder, lambda sentence: say(f"  {sentence}")) as stage:
            stage.control = ControlClient(stage.server.control_url, timeout=60.0)
            stage.load = load_of(stage, subject.name, clients)
            before: Acted | None = None
            for number, case in enumerate(cases):
                run = 1 + sum(other == case for other in cases[:number])
                say(f"{number + 1} of {len(cases)}: {case.name}")
                acted = stage.act(number, run)
                if before is not None:
                    yield _told(stage.outcome_of(before))
                before = acted
            if before is not None:
                yield _told(stage.outcome_of(before))


def _told(outcome: Outcome) -> Outcome:
    say(f"  {outcome.kind}: {outcome_line(outcome)}")
    return outcome


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends a rehearsal as Ctrl-C does, so that its server does not stay."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def load_of(stage: Stage, model: str, clients: Clients) -> LoadSpec:
    """Return the clients' load, with the right answers where they can be compared."""
    from changeover.bench import LoadSpec
    from changeover.cli.client import JsonClient
    from changeover.cli.samples import read_samples
    from changeover.client.ask import get, model_path
    from changeover.rehearsal.reference import right_answers

    inputs = JsonClient(stage.server.url, option="--url").call(get(model_path(model, None)))["inputs"]
    samples = read_samples(inputs, clients.samples)
    spec = LoadSpec(
        model, samples.inputs, port=stage.server.http_port, rate=clients.rate, arrivals="poisson", fresh=0.05,
        connections=256, batched=samples.batched,
    )  # fmt: skip
    right = right_answers(spec)
    if right is None:
        say("note: the answers are texts, or differ in shape: their values are not compared")
        return spec
    return replace(spec, expected={str(version): right for version in range(1, 10_000)})


def _cases(kinds: str | None, runs: int) -> list[Case]:
    from changeover.rehearsal.cases import default_cases, read_case, repeated

    try:
        cases = [read_case(text) for text in kinds.split(",")] if kinds else default_cases()
    except ValueError as error:
        raise Usage(f"--kinds: {error}") from None
    return repeated(cases, runs)


def _subject(name: str, file: Path | None, plan: Path | None, hold: str | None) -> Subject:
    """Find the version, its plan and its golden set."""
    from changeover.rehearsal.plan import script

    version = file or _highest(name)
    if version.name == _MODEL and version.parent.name.isdigit():
        version = version.parent  # a repository's file stands for its folder, and for what belongs to it
    if version.is_dir() and not (version / _MODEL).is_file():
        raise Usage(f"{version} holds no {_MODEL}; name an .onnx file or a version's folder")
    beside = (version / _PLAN, version.parent / _PLAN) if version.is_dir() else (version.parent / _PLAN,)
    found = plan or next((path for path in beside if path.is_file()), None)
    text = found.read_text() if found else ""
    golden = version.parent / _GOLDEN
    return Subject(name, version, script(text, str(found or _PLAN), hold), golden if golden.is_dir() else None)


def _highest(name: str) -> Path:
    """The highest version in the repository of the settings."""
    from changeover.cli.serve import configured

    repository = configured().repository
    if repository is None:
        raise Usage("name the model's FILE: neither changeover.yaml nor CHANGEOVER_REPOSITORY names a repository")
    folder = Path(repository) / name
    numbers = [int(path.parent.name) for path in folder.glob(f"*/{_MODEL}") if path.parent.name.isdigit()]
    if not numbers:
        raise Usage(f"{folder} holds no version; name the model's FILE")
    return folder / str(max(numbers))


def _fill(model: Path, subject: Subject) -> None:
    """Version 1, the plan, the golden set."""
    version = model / "1"
    if subject.version.is_dir():
        shutil.copytree(subject.version, version, ignore=shutil.ignore_patterns(_PLAN))
    else:
        version.mkdir(parents=True)
        shutil.copy(subject.version, version / _MODEL)
    (model / _PLAN).write_text(subject.script.text)
    if subject.golden:
        shutil.copytree(subject.golden, model / _GOLDEN)


@contextmanager
def _packed(version: Path) -> Iterator[tuple[IO[bytes], str]]:
    from changeover.client.upload import packed

    with tempfile.TemporaryFile() as room:
        body, content_type = packed(version, None, room)
        with body:
            yield body, content_type


def _document(subject: Subject, clients: Clients, outcomes: list[Outcome]) -> Document:
    from changeover.rehearsal.outcome import summary

    return {
        "passed": all(outcome.right for outcome in outcomes),
        "model": subject.name,
        "file": str(subject.version),
        "plan_changes": list(subject.script.changes),
        "traffic": clients.traffic,
        "rate": clients.rate,
        "deadline_s": clients.deadline,
        "summary": summary(outcomes),
        "outcomes": [outcome.to_dict() for outcome in outcomes],
    }
