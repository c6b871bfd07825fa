"""Of the events."""
