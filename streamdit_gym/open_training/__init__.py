"""Training of open video models on one's own video: fine-tuning, and distillation into students."""
