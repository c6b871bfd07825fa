"""The same door with no model behind it: echoes the body as it is (`raw`), or decodes JSON first (`json`)."""

from __future__ import annotations

import asyncio
import socket
import sys

import numpy as np
import orjson
import uvloop

from changeover.gateway.door.http1 import HttpRequest
from changeover.gateway.door.listener import DoorServer

_OCTETS = b"content-type: application/octet-stream\r\n"
_JSON = b"content-type: application/json\r\n"


class Raw:
    """Echo."""

    def admit(self, request: HttpRequest) -> None:
        """Every body is taken."""

    def __call__(self, request: HttpRequest) -> None:
        request.respond(200, _OCTETS, [request.body])


class Decoded(Raw):
    """What a plain server does with a JSON tensor: orjson, numpy, orjson."""

    def __call__(self, request: HttpRequest) -> None:
        document = orjson.loads(request.body)
        tensor = document["inputs"][0]
        array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        outputs = [{"name": tensor["name"], "datatype": "FP32", "shape": array.shape, "data": array.ravel()[:10]}]
        request.respond(200, _JSON, [orjson.dumps({"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)])


async def main() -> None:
    """Serve until killed."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    DoorServer(Decoded() if sys.argv[1] == "json" else Raw(), sock).start()
    print(sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
