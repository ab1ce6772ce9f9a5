"""Codecs: pixels to latents and back."""
