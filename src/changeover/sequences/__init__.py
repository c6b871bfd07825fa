"""SEQUENCES   clients' stateful runs of requests: where their state is kept, and how processes speak of it."""
