"""What is kept: the journal (decisions, one SQLite file) and the certificates of changeovers."""
