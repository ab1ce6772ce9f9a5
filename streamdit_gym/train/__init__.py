"""Training of a world, stage by stage; resumable, in one process or several."""
