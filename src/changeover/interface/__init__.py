"""INTERFACE   models whose inputs and outputs differ: steps of a plan, compiled to ONNX nodes round the model."""
