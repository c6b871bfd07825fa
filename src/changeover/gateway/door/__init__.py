"""The door of the data plane: bytes in, whole requests to the application, bytes out.

`http1` is HTTP/1.1 on our own protocol over httptools, `http2` is HTTP/2 on framing of our own, for gRPC. Why our own
and what was measured: `docs/adr/0001-own-http-door.md` and `docs/adr/0015-own-http2-framing.md`.
"""
