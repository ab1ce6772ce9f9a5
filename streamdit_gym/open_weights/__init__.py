"""Open video models of the Wan family behind our engine: Wan 2.1, SkyReels-V2-DF, Self-Forcing.

Takes: a folder or Hub id in diffusers' layout.  Gives: streams of frames that prompts steer.
"""
