"""The moving buffer: how frames and noise levels are cut up, and how they move."""
