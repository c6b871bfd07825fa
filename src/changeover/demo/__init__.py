"""The demo: real handwritten digits, two versions of a model that work and one that must be refused."""
