"""Heads: what can be read off a latent frame."""
