"""The way of a version: from a folder or a push to a sealed artifact that is proven to be sound."""
