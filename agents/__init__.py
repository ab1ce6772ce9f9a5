"""Agents: the Stable-Baselines3 adapter, training, policies and their scores.

The only room that knows Stable-Baselines3.
"""
