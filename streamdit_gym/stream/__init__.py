"""Streaming: sessions and the engine that moves them."""
