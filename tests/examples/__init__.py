"""What is shipped under examples/."""
