"""Of the alarms."""
