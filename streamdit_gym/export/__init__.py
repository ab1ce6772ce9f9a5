"""Worlds for other runtimes: ONNX networks, their description, and a page that runs them."""
