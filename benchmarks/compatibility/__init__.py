"""The parts of `benchmarks/oracle.py`: models for two servers, requests, answers and why some differ."""
