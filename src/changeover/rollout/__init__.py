"""Rollouts: what the plan asks for, and the pure machine that goes through it."""
