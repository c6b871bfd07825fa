"""The servers that stand beside ours in `peers_bench.py`, each behind the same small interface."""
