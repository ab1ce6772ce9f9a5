"""The tables of README and documentation, measured again: commands, numbers, verdicts."""
