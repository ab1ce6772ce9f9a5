"""The stages of a world's training, in order; each has one ``run(context, ...) -> artifact``."""
