"""Measures a world against its reference simulator."""
