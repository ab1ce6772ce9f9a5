"""Making labelled video with a world: players, episodes in batches, quality flags, resume."""
