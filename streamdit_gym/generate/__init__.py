"""Data sets that a world generates, and DAgger relabelling of a world's own frames."""
