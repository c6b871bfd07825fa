"""Negative control of the bench `felt`: a server that loads and destroys sessions in the process that serves.

`POST /change/N` loads version N in a thread beside a session of 9,000 nodes, then destroys what served before.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
import uvloop

from changeover.demo import digits
from changeover.gateway.door.http1 import HttpRequest
from changeover.gateway.door.listener import DoorServer
from changeover.protocol.oip_binary import decode, encode_response
from changeover.tensors import from_numpy
from models import many_nodes


class InProcess:
    """One session, replaced in place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ballast = many_nodes()
        self._version, self._session, self._chain = self._load(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def _load(self, version: int) -> tuple[int, ort.InferenceSession, ort.InferenceSession]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        providers = ["CPUExecutionProvider"]
        data = digits.model_bytes(str((version - 1) % 2 + 1))
        chain = ort.InferenceSession(self._ballast, options, providers=providers)
        return version, ort.InferenceSession(data, options, providers=providers), chain

    def admit(self, request: HttpRequest) -> None:
        """Every body is taken."""

    def __call__(self, request: HttpRequest) -> None:
        """Infer, or change."""
        if request.path.startswith("/change/"):
            task = asyncio.get_running_loop().create_task(self._change(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        length = request.headers.get(b"inference-header-content-length")
        asked = decode(request.body, int(length) if length else None)
        outputs = self._session.run(None, {asked.inputs[0].name: asked.inputs[0].numpy()})
        tensors = [from_numpy(digits.OUTPUT, outputs[0])]
        chunks, header = encode_response(self._name, str(self._version), asked.id, tensors, [asked.binary_output])
        head = b"content-type: application/octet-stream\r\n"
        head += b"inference-header-content-length: %d\r\n" % header if header else b""
        request.respond(200, head, chunks)

    async def _change(self, request: HttpRequest) -> None:
        loaded = await asyncio.to_thread(self._load, int(request.path.rsplit("/", 1)[1]))
        self._version, self._session, self._chain = loaded
        request.respond(200, b"", [b"{}"])


async def main() -> None:
    """Serve until killed."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    DoorServer(InProcess(sys.argv[1]), sock).start()
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
