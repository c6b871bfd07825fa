"""Rehearsals: a model's own plan against candidates that go wrong on purpose, on a private server under load."""
