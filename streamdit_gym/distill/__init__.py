"""Distillation: fewer evaluations of the model for the same world."""
