"""The players: the Stable-Baselines3 adapter, training, scores.
The only room that knows Stable-Baselines3.
"""
