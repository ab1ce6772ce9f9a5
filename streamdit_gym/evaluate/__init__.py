"""Measuring a world against its twin."""
