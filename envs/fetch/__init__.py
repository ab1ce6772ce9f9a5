"""Fetch: gymnasium-robotics' arm, which reaches for places of a table and pushes a block."""
