"""Recorded data sets: writing them with a simulator, reading them for training."""
