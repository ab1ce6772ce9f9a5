"""Training: codec, transformer, heads; resumable, on the CPU or one GPU."""
