"""The metrics of the control port."""
