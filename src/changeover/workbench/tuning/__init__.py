"""Tuning: which settings run a model best on this machine, found by measuring, and never worse than the default.

`tune(path, wish, tell)` in `tune.py` is all that others need.
"""
