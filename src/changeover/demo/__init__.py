"""The demo: real handwritten digits, two versions of a model that work and two that must not get through."""
