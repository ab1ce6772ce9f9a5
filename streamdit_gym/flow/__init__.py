"""Flow matching: the path between noise and data, and the Euler step along it."""
