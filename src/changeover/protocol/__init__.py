"""Bytes to messages and back, without I/O: the Open Inference Protocol (OIP v2) with Triton's binary tensors.

A request over HTTP is a JSON header, with the raw bytes of some tensors behind it; a pure JSON request is the
case with nothing behind. So there is one way in and one way out, both in `oip_binary`:

    decode(body, header length) -> InferRequest      encode_response(model, version, id, tensors, ...) -> chunks

- `oip`         the messages, and how a refusal is worded
- `oip_json`    the JSON header of a request: its structure, checked
- `oip_values`  JSON numbers and strings to the raw bytes of a tensor and back
- `oip_binary`  header and raw bytes put together
"""
