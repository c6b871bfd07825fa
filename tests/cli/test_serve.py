"""What `serve` refuses before anything starts: by exit code and sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.cli.main import run
from tests.certificates import Authority

SECRET = "infer-0123456789abcdef"  # noqa: S105 - of this test


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Command lines that `serve` became; none of them runs."""
    found: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: found.append(command))
    monkeypatch.chdir(tmp_path)
    for name in ("CHANGEOVER_HOST", "CHANGEOVER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return found


def tokens(folder: Path, text: str = f"infer {SECRET}", mode: int = 0o600) -> str:
    """A token file."""
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_an_open_address_is_refused(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without access control, and with tokens in the clear; --insecure is asked for by name."""
    everywhere = ["serve", "--host", "0.0.0.0"]  # noqa: S104 - refused
    assert run(everywhere) == 64
    assert "Give a --token-file, or --tls-cert" in capsys.readouterr().err
    assert run([*everywhere, "--token-file", tokens(tmp_path)]) == 64
    assert "in the clear on 0.0.0.0" in capsys.readouterr().err
    assert started == []
    run([*everywhere, "--token-file", tokens(tmp_path), "--insecure"])
    assert len(started) == 1


def test_files_that_cannot_be_used_are_refused(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file and the line, and without the token."""
    authority = Authority(tmp_path)
    server, other = authority.issue("server"), authority.issue("other")
    cases = [
        (["--token-file", "missing"], "missing cannot be read"),
        (["--token-file", tokens(tmp_path, mode=0o640)], "chmod 600"),
        (["--faults", "missing"], "missing: [Errno 2]"),
    ]
    for options, words in cases:
        assert run(["serve", *options]) == 64
        assert words in capsys.readouterr().err
    assert run(["serve", "--token-file", tokens(tmp_path, f"infer {SECRET}\n{SECRET} infer")]) == 64
    told = capsys.readouterr().err
    assert "line 2: the first word" in told
    assert SECRET not in told
    assert run(["serve", "--tls-cert", str(server.cert), "--tls-key", str(other.key)]) == 64
    assert "key values mismatch" in capsys.readouterr().err
    assert started == []


def test_a_clients_token_is_no_business_of_the_server(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the environment, and the command line names files only."""
    import os

    monkeypatch.setenv("CHANGEOVER_TOKEN", "stray-0123456789abcdef")
    run(["serve", "--token-file", tokens(tmp_path)])
    assert "CHANGEOVER_TOKEN" not in os.environ
    assert SECRET not in " ".join(started[0])
    assert str(tmp_path / "tokens") in started[0][-1]


def test_libraries_lie_where_no_model_is_put(
    started: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in the repository or the state folder is refused, by whatever way it is named, and so is none at all."""
    for name in ("models/ops", ".changeover", "ops"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "models" / "ops")
    cases = {"models/ops": "in the repository", "link": "in the repository", ".changeover": "in the state folder",
             "missing": "missing is no folder"}  # fmt: skip
    for folder, words in cases.items():
        assert run(["serve", "models", "--custom-ops", folder]) == 64
        assert words in capsys.readouterr().err
    assert started == []
    run(["serve", "models", "--custom-ops", "ops"])
    assert len(started) == 1
