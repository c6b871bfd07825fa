"""Bytes to messages and back, without I/O: the Open Inference Protocol (OIP v2), over HTTP and over gRPC.

A request over HTTP is a JSON header, with the raw bytes of some tensors behind it; a pure JSON request is the
case with nothing behind. So there is one way in and one way out, both in `oip_binary`:

    decode(body, header length) -> InferRequest      encode_response(model, version, id, tensors, ...) -> chunks

Over gRPC the messages are protobuf's, with a model's name among the rest:

    oip_grpc.Cut(message).route() -> model, version  Cut.decode() -> GrpcAsked  encode_response(...) -> chunks
    oip_grpc_messages.decode(name, message) -> values     encode(name, values) -> message     for all other calls

- `oip`         the messages, and how a refusal is worded
- `oip_members` the rules for inputs and outputs, whichever form they came in
- `oip_json`    the JSON header of a request: its structure, checked
- `oip_values`  JSON numbers and strings to the raw bytes of a tensor and back
- `oip_binary`  header and raw bytes put together
- `oip_grpc`    `ModelInfer`: `_head` all but raw tensors, `_contents` typed lists to raw bytes
- `oip_grpc_schema`  the `.proto` files read; `_messages` values by it, `_scalars` and `_wire` the encoding
"""
