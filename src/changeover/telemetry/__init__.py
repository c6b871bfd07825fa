"""What is observed of requests, and how it is counted."""
