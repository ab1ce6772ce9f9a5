"""Prompts: text to embeddings."""
