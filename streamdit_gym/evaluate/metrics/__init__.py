"""Metrics of a world: one module for each family of `schema`."""
