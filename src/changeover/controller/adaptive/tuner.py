"""Tuning a version that serves: in a child process at idle priority, for as long as its budget says.

The child is `changeover model tune` on a copy of the version with the plan that counts for it, so what comes of it is
what an operator would have got. All its files, recent requests too, lie in one folder that only this user can read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import MODEL_FILE, PLAN_FILE
from changeover.rollout.plan import Plan
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.rollout.proving import GOLDEN

_CHILD: Final = "changeover.controller.adaptive.child"
_BEYOND: Final = 10
_PATIENCE: Final = 600.0
"""On a busy machine idle priority takes its time: so many times the budget, and so many seconds more."""
_DETAIL: Final = 400


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tuned.

    Attributes:
        artifact: of the version that serves; plan: that counts for it.
        golden: folder of the model's golden set, where it has one.
        requests: archive of recent requests, empty for none.
        custom_ops: folder of the libraries that the plan may name.
    """

    artifact: Artifact
    plan: Plan
    golden: Path | None
    requests: bytes
    custom_ops: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `pushed` when there is a version in `version`, else `kept` or `failed`."""

    state: str
    sentence: str
    version: Path | None = None


async def tune(subject: Subject, adaptive: AdaptivePlan, folder: Path) -> Outcome:
    """Tune, and leave the version in a folder.

    Args:
        subject: what is tuned.
        adaptive: objective and budget.
        folder: an empty one, on a disk with room for some copies of the model.
    """
    source, version, requests = folder / "source", folder / "version", folder / "requests.npz"
    await asyncio.to_thread(_copy, subject, source, requests)
    arguments = ["--objective", adaptive.objective, "--budget", f"{adaptive.budget:g}", "--write", str(version)]
    if subject.golden is not None and not (source / GOLDEN).is_dir():
        arguments += ["--golden", str(subject.golden)]
    if subject.requests:
        arguments += ["--requests", str(requests)]
    if subject.custom_ops is not None:
        arguments += ["--custom-ops", str(subject.custom_ops)]
    patience = _BEYOND * adaptive.budget + _PATIENCE
    code, told, said = await _run([str(source), *arguments, "-o", "json"], folder, patience)
    return _outcome(code, told, said, version)


def _copy(subject: Subject, source: Path, requests: Path) -> None:
    """A version's folder that may be written to, with the plan as it counts."""
    requests.write_bytes(subject.requests)
    shutil.copytree(subject.artifact.folder, source, copy_function=shutil.copyfile)
    for part in (source, *(path for path in source.rglob("*") if path.is_dir())):
        part.chmod(0o700)  # sealed folders may not be written to
    plan = msgspec.to_builtins(subject.plan)
    (source / PLAN_FILE).write_bytes(
        msgspec.json.encode({name: part for name, part in plan.items() if part is not None})
    )


async def _run(arguments: list[str], folder: Path, patience: float) -> tuple[int | None, bytes, bytes]:
    """Exit code (None: it was not done in time), what it wrote, what it said on the way."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _CHILD, str(os.getpid()), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(folder)},  # what it leaves when it is killed goes with the folder
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(patience):
            told, said = await child.communicate()
    except TimeoutError:
        return None, b"", b""
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    return child.returncode, told, said


def _outcome(code: int | None, told: bytes, said: bytes, version: Path) -> Outcome:
    if code is None:
        return Outcome("failed", "the tuning was not done in time: the machine is too busy for it")
    try:
        document: dict[str, Any] = msgspec.json.decode(told) if code == 0 else {}
    except msgspec.DecodeError:
        document = {}
    if not document:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        return Outcome("failed", f"the tuning ended with {code}: {last}"[:_DETAIL])
    kept = bool(document.get("kept")) or not (version / MODEL_FILE).is_file()
    sentence = str(document.get("sentence", ""))[:_DETAIL]
    return Outcome("kept", sentence) if kept else Outcome("pushed", sentence, version)


def workspace(state: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for one tuning; what a killed controller leaves is removed by the next one."""
    return tempfile.TemporaryDirectory(prefix="tuning-", dir=state / "incoming", ignore_cleanup_errors=True)
