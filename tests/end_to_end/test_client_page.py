"""The examples of the client's page run as they are written, against a server on its usual ports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from changeover.demo import digits
from tests.certificates import Authority
from tests.conftest import Serve

PAGE = Path(__file__).parent.parent.parent / "docs" / "client.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_examples_run(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, in their order; what the comments say is printed is printed."""
    server = serve()
    server.deploy(digits.MODEL, digits.model_bytes("1"))
    (tmp_path / "digits_v2.onnx").write_bytes(digits.model_bytes("2"))
    pair = Authority(tmp_path).issue("me")
    assert (pair.cert.name, pair.key.name) == ("me.pem", "me.key")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = _BLOCK.findall(PAGE.read_text())
    assert len(blocks) > 5
    for block in blocks:
        text = block.replace(":8000", f":{server.http_port}").replace(":8002", f":{server.control_port}")
        exec(compile(text, PAGE.name, "exec"), names)  # noqa: S102 - our own page
    for name in ("client", "secured"):
        names[name].close()  # type: ignore[attr-defined]
    printed = capsys.readouterr().out.splitlines()
    told = re.findall(r"^ *print\(.*\)  # (.+?)(?::.*)?$", PAGE.read_text(), re.MULTILINE)
    assert len(told) > 4
    assert [line for line in told if line not in printed] == []
