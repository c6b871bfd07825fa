"""The state folder is damaged: the server refuses to start in one sentence, or serves what was decided."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.lifecycle import artifacts
from changeover.records.journal import Journal
from changeover.testing import Server, wait_for
from tests import onnx_models

ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
JOURNAL, WAL, MARK = "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-mark"
Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a killed server: version 2 was promoted over 1, 3 was taken back."""
    folder = tmp_path_factory.mktemp("left")
    with Server(folder) as server:
        for version in (1, 2, 3):
            server.deploy("m", onnx_models.scale(version + 1).SerializeToString(), version)
        server.control("POST", "/v1/models/m/rollout/undo")
        wait_for(lambda: server.model("m")["standby"] is None, "the release of version 3")
        server.kill()
    return folder / "state"


@pytest.fixture
def state(left: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(left, tmp_path / "state"))


def write(name: str, position: int, data: bytes) -> Harm:
    def harm(state: Path) -> None:
        with (state / name).open("r+b") as file:
            file.seek(position if position >= 0 else os.path.getsize(state / name) + position)
            file.write(data)

    return harm


def cut(name: str, size: int) -> Harm:
    return lambda state: os.truncate(state / name, size)


def folder_at(name: str) -> Harm:
    def harm(state: Path) -> None:
        (state / name).unlink(missing_ok=True)
        (state / name).mkdir()

    return harm


def file_at(name: str) -> Harm:
    def harm(state: Path) -> None:
        shutil.rmtree(state / name)
        (state / name).write_text("in the way")

    return harm


def without(*names: str) -> Harm:
    return lambda state: [(state / name).unlink() for name in names]


def checkpointed(then: Harm) -> Harm:
    """As after a long life: all is in the main file."""

    def harm(state: Path) -> None:
        connection = sqlite3.connect(state / JOURNAL)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        then(state)

    return harm


def forged(sql: str) -> Harm:
    """A row says what none of ours says, in a file that is sound for SQLite."""

    def harm(state: Path) -> None:
        with sqlite3.connect(state / JOURNAL) as connection:
            assert connection.execute(sql).rowcount
        connection.close()

    return harm


REFUSED: dict[str, tuple[Harm, str]] = {
    "journal: header": (checkpointed(write(JOURNAL, 0, b"no database here")), "journal_corrupt"),
    "journal: zero length": (checkpointed(cut(JOURNAL, 0)), "journal_forgetful"),
    "journal: cut in a page": (checkpointed(cut(JOURNAL, 5000)), "journal_corrupt"),
    "journal: first page": (checkpointed(write(JOURNAL, 100, b"\xa5" * 3000)), "journal_corrupt"),
    "journal: a later page": (checkpointed(write(JOURNAL, 4096 * 3, b"\xa5" * 4096)), "journal_corrupt"),
    "journal: missing": (without(JOURNAL, WAL), "journal_forgetful"),
    "journal: a folder": (folder_at(JOURNAL), "journal_corrupt"),
    "journal: another program's": (
        lambda state: (without(JOURNAL, WAL)(state), shutil.copy(_foreign(state.parent), state / JOURNAL)),
        "journal_corrupt",
    ),
    "log: header": (write(WAL, 0, b"\xa5" * 32), "journal_forgetful"),
    "log: first frame": (write(WAL, 40, b"\xa5" * 100), "journal_forgetful"),
    "log: middle": (write(WAL, 60_000, b"\xa5" * 5000), "journal_forgetful"),
    "log: zero length": (cut(WAL, 0), "journal_forgetful"),
    "log: missing": (without(WAL), "journal_forgetful"),
    "log: a folder": (folder_at(WAL), "journal_corrupt"),
    "records: a table's bytes": (forged("UPDATE epochs SET routes = x'00ff'"), "journal_corrupt"),
    "records: another's table": (
        forged("UPDATE epochs SET routes = replace(routes, '\"m\"', '\"n\"')"),
        "journal_corrupt",
    ),
    "records: a loading": (forged("UPDATE loadings SET measured = x'7b'"), "journal_corrupt"),
    "records: no term": (forged("UPDATE counters SET value = 'x'"), "journal_corrupt"),
    "records: no epoch": (forged("UPDATE models SET next_epoch = x'a500'"), "journal_corrupt"),
    "records: no version": (forged("UPDATE versions SET version = 'x'"), "journal_corrupt"),
    "records: no time": (forged("UPDATE rollouts SET updated = x'a500'"), "journal_corrupt"),
    "records: no table": (forged("UPDATE epochs SET routes = -5"), "journal_corrupt"),
    "records: an ended rollout": (forged("UPDATE rollouts SET record = '[1]'"), "journal_corrupt"),
    "lock: a folder": (folder_at("lock"), "state_unusable"),
    "server.json: a folder": (folder_at("server.json"), "state_unusable"),
    "cache: a file": (file_at("cache"), "state_unusable"),
}


def _foreign(folder: Path) -> Path:
    path = folder / "foreign.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    return path


@pytest.mark.parametrize("what", [what for what, (_, reason) in REFUSED.items() if reason.startswith("journal")])
def test_a_damaged_journal_is_not_opened(state: Path, what: str) -> None:
    """The reason is stable, the sentence names the file, and trying again changes nothing."""
    harm, reason = REFUSED[what]
    harm(state)
    for _ in range(2):
        with pytest.raises(Internal) as refused:
            Journal(state / JOURNAL)
        assert refused.value.reason == reason
        assert str(state / JOURNAL) in refused.value.message
        assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "what", ["journal: header", "log: middle", "lock: a folder", "server.json: a folder", "cache: a file"]
)
def test_the_start_is_refused(state: Path, what: str) -> None:
    """Exit code 2, and one line says the reason and names the file."""
    harm, reason = REFUSED[what]
    harm(state)
    server = Server(state.parent)
    server.launch()
    assert server.wait() == 2, server.tail()
    [said] = [line for line in server.log.read_text().splitlines() if f"[{reason}]" in line]
    assert str(state) in said


def test_the_mark_removed_accepts_what_is_left(state: Path) -> None:
    """The way on that the refusal names."""
    write(WAL, 60_000, b"\xa5" * 5000)(state)
    with pytest.raises(Internal, match=r"journal\.sqlite-mark"):
        Journal(state / JOURNAL)
    (state / MARK).unlink()
    with Journal(state / JOURNAL) as journal:
        journal.next_term()


@pytest.mark.parametrize("text", [b"\xff" * 21, b"%020d\n" % 1, b""], ids=["garbage", "behind", "empty"])
def test_a_mark_that_says_less_does_no_harm(state: Path, text: bytes) -> None:
    """A machine that stopped between a decision and its mark."""
    (state / MARK).write_bytes(text)
    with Journal(state / JOURNAL) as journal:
        assert journal.epochs.committed("m") is not None


def test_what_does_not_matter_is_put_right(state: Path) -> None:
    """Garbage in `server.json` and in every file of the cache, half a sealing, a torn last write: version 2 serves."""
    (state / "server.json").write_bytes(b"\xff{")
    for file in (state / "cache").iterdir():
        file.write_bytes(b"\xa5" * 100)
    (state / "artifacts" / ".sealing-x").mkdir()
    with (state / WAL).open("ab") as log:
        log.write(b"\xa5" * 1000)
    with Server(state.parent) as server:
        answer = server.infer("m", ASK).json()
        assert (answer["model_version"], answer["outputs"][0]["data"]) == ("2", [3.0] * 4)
        assert not list((state / "artifacts").glob(".sealing-*"))


def sealed(state: Path) -> list[Path]:
    """Every sealed artifact's folder, opened for harm."""
    found = [state / "artifacts" / digest for digest in artifacts.digests(state / "artifacts")]
    for path in found:
        for name in (path, path / "files", path / "manifest.json", path / "files" / "model.onnx"):
            name.chmod(0o700)
    return found


def flipped(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["manifest.json", "files/model.onnx"])
def test_what_was_not_verified_never_serves(state: Path, name: str) -> None:
    """Every artifact differs from what was sealed: no version serves, the log says why, and new ones are taken."""
    for path in sealed(state):
        flipped(path / name, 30)
    with Server(state.parent) as server:
        assert server.infer("m", ASK).status in (404, 503)
        assert "is damaged" in server.log.read_text()
        server.deploy("m", onnx_models.scale(9).SerializeToString(), 7)
        assert server.infer("m", ASK).json()["outputs"][0]["data"] == [9.0] * 4


def test_a_replaced_worker_verifies_too(tmp_path: Path) -> None:
    """The sealed bytes change under a running server, and its worker dies: the changed bytes are not served."""
    with Server(tmp_path) as server:
        server.plan("m", "runtime: {optimization: 'off'}")
        model = onnx_models.scale(2).SerializeToString()
        server.deploy("m", model, 1)
        [path] = sealed(server.state)
        changed = onnx_models.scale(3).SerializeToString()
        assert len(changed) == len(model)
        (path / "files" / "model.onnx").write_bytes(changed)
        server.named("worker m/1").kill()
        wait_for(lambda: "refuses to serve: The sealed artifact" in server.log.read_text(), "a refusal")
        server.deploy("m", onnx_models.scale(5).SerializeToString(), 2)
        assert server.infer("m", ASK).json()["outputs"][0]["data"] == [5.0] * 4
