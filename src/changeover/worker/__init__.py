"""COMPUTE: one process a loaded version, one ONNX Runtime session in it."""
