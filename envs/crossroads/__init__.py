"""Crossroads: a small world whose chances are known, to measure whether a model can draw."""
