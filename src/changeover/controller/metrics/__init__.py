"""What `/metrics` tells: totals of the gateways, facts of the processes and rollouts, read at a scrape."""
