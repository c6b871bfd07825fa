"""Sequences at a gateway: their order, which loading has a record, and moving it to where it belongs."""
