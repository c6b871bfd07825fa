"""HTTP/2 of the data plane, for gRPC: whole unary calls to the application, their answers out.

`connection` is one connection's `asyncio.Protocol`; it drives `inbound` (frames to calls) and `outbound` (answers
to frames, within the client's windows). `frames`, `hpack`, `huffman`, `fields`, `message` and `calm` are pure. Why
our own and what was measured: `docs/adr/0015-own-http2-framing.md`.
"""
