"""What the supervisor keeps: made once, refused with a reason, announced."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import json, os, socket, sys
from pathlib import Path
from changeover.settings import Settings
from changeover.supervisor.holdings import Holdings, memory
held = Holdings(Settings(state_dir=sys.argv[1], http_port=0, grpc_port=0, control_port=0))
told = json.loads((Path(sys.argv[1]) / "server.json").read_text())
gateway, controller = held.for_gateway(), held.for_controller(memory({"a": 1}))
def may_write(fd):
    import mmap
    try:
        return bool(mmap.mmap(fd, 8, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
    except PermissionError:
        return False
os.lseek(controller[3], 0, os.SEEK_SET)
ports = [socket.socket(fileno=os.dup(fd)).getsockname()[1] for fd in gateway[:2]]
print(json.dumps([ports == [told["http_port"], told["grpc_port"]], told["pid"] == os.getpid(),
    [may_write(fd) for fd in gateway[2:4]], [may_write(fd) for fd in controller[1:3]],
    os.read(controller[3], 99).decode(), os.environ["ORT_DISABLE_TELEMETRY"]]))
"""


def test_gateways_read_and_the_controller_writes(tmp_path: Path) -> None:
    """Page and store can only be mapped for reading where requests come in; the ports are announced."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [True, True, [False, False], [True, True], '{"a": 1}', "1"]


_TABLES = """
import json, sys
from changeover.settings import Settings
from changeover.supervisor.holdings import Holdings, memory
from changeover.transport.page import RoutePage, TableRecord, TableStore
held = Holdings(Settings(state_dir=sys.argv[1], http_port=0, grpc_port=0, control_port=0))
_, page, store, _ = held.for_controller(memory({}))
page, store = RoutePage(page, writable=True), TableStore(store, writable=True)
def publish(epoch, data):
    store.append(TableRecord(1, epoch, 1, data), page.words)
publish(5, json.dumps({"buckets": [[10_000, 7]], "loadings": [7, 8]}).encode())
publish(6, json.dumps({"buckets": [[100, 8], [9_900, 7]]}).encode())
publish(7, b"no table")
found = []
for epoch in (0, 5, 6, 7):
    page.store(1, epoch)
    found.append([held.carries(7), held.carries(8)])
print(json.dumps(found))
"""


def test_who_carries_traffic_stands_in_the_tables_in_force(tmp_path: Path) -> None:
    """A version that is only named has none; where a table cannot be read it is taken to have some."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _TABLES, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[False, False], [True, False], [True, True], [True, True]]


@pytest.mark.parametrize(("setting", "flag"), [("http_port", "--http-port"), ("grpc_port", "--grpc-port")])
def test_a_taken_port_is_refused(tmp_path: Path, setting: str, flag: str) -> None:
    """With the flag that chooses another, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = holding(tmp_path, **{setting: taken.getsockname()[1]})
    assert done.returncode == 1
    assert flag in done.stderr


def test_a_process_that_may_open_hardly_a_file_is_no_server(tmp_path: Path) -> None:
    """It would say that it is ready and take nobody in; with a few more it can be held."""
    refused = holding(tmp_path, files=255)
    assert refused.returncode == 1
    assert "a process may open 255 files here" in refused.stderr
    assert "too_few_descriptors" in refused.stderr
    assert holding(tmp_path, files=256).returncode == 0


def holding(state: Path, files: int | None = None, **settings: int) -> subprocess.CompletedProcess[str]:
    """A process that makes its holdings and ends; `files`: so many it may open."""
    ports = {"http_port": 0, "grpc_port": 0, "control_port": 0}
    code = (
        "import json, resource, sys; settings, files = json.loads(sys.argv[1])\n"
        "if files: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))\n"
        "from changeover.errors import ChangeoverError\n"
        "from changeover.settings import Settings; from changeover.supervisor.holdings import Holdings\n"
        "try: Holdings(Settings(**settings))\n"
        "except ChangeoverError as error: sys.exit(f'{error.message} [{error.reason}]')\n"
    )
    given = json.dumps([{"state_dir": str(state), **ports, **settings}, files])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, given], env=environment, capture_output=True, text=True, check=False
    )
