"""Built-in alerts: conditions on what each second shows, firing and resolved, told by events and a webhook."""
