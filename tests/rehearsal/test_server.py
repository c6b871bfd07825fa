"""A server that nobody else knows of."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.rehearsal.server import PrivateServer
from changeover.testing import exchange
from tests import onnx_models


def filled(server: PrivateServer) -> PrivateServer:
    """With version 1 of a model."""
    version = server.repository / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(onnx_models.scale(2).SerializeToString())
    return server


def test_it_serves_on_free_ports_and_ends(tmp_path: Path) -> None:
    """Both ports answer inside the block, none after it."""
    with filled(PrivateServer(tmp_path, "m")) as server:
        assert exchange(server.http_port, "GET", "/v2/models/m/ready").status == 200
        assert exchange(server.control_port, "GET", "/v1/models/m").json()["active"] == "1"
        assert server.pid > 0
    with pytest.raises(ConnectionError):
        exchange(server.http_port, "GET", "/v2/health/live")


def test_it_has_the_settings_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of the environment's, which are another server's."""
    monkeypatch.setenv("CHANGEOVER_MAX_QUEUE_DELAY", "nonsense")
    told = PrivateServer(tmp_path, "m", settings={"max_queue_delay": "-1"})
    with pytest.raises(Internal, match="max_queue_delay: give more than 0"), told:
        pass


def test_last_words(tmp_path: Path) -> None:
    """A server that cannot start says why."""
    with pytest.raises(Internal, match="No such file") as ended, PrivateServer(tmp_path, "m", ["--faults", "none"]):
        pass
    assert ended.value.reason == "server_ended"
