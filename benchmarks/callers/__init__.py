"""Clients that other people wrote, each in a child process, and the cases that all of them must pass."""
