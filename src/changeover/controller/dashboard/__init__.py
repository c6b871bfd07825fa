"""The dashboard at `/ui`: static files that use the control port's own API."""
