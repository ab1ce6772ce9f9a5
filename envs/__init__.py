"""The Gymnasium face of the worlds, and the worlds themselves."""
