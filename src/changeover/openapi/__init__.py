"""Descriptions of the ports: rows of their tables as OpenAPI 3.1, and as a page for people. Pure."""
