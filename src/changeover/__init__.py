"""Changeover: replace the models of a live inference service, and no client can tell."""

__version__ = "0.1.0"
