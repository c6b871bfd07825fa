"""Proposals to tune a model anew: when its traffic or the hardware has become another one since it was tuned."""
