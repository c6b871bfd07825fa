"""What happens, as it happens: the journal's events and a sample a second, to whoever listens."""
