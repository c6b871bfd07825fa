"""RUNTIME   what worker and prover have in common: sessions, their cache, first runs, low priority, memory limits."""
