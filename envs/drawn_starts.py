"""Starts that a world draws itself: the last frames of a clip from noise."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from streamdit_gym.stream.clip import CLIP_FRAMES, ClipSampler, PromptedFrames
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.world import World

Drawn = Literal["drawn"]
DRAWN: Drawn = "drawn"  # in place of first frames


class DrawnStarts:
    """Draws the frames that streams begin with.

    A start is a clip of the idle prompt, so a stream begins with real motion behind it, or at rest
    where the world comes to rest.

    Args:
        world: draws the clips.
        engine: moves the world's streams.
    """

    def __init__(self, world: World, engine: Engine) -> None:
        self._world = world
        self._engine = engine

    def draw(self, noise: Noise) -> PromptedFrames:
        """Return the clean frames of a clip for each stream.

        Args:
            noise: a sequence for each stream. It is drawn from, so the noise of the stream that
                follows is new.
        """
        prompts = self._engine.idle_prompts(len(noise), CLIP_FRAMES)
        latents = self._clip_sampler.draw(prompts, noise)
        return PromptedFrames(latents=latents, prompts=prompts)

    @cached_property
    def _clip_sampler(self) -> ClipSampler:
        """Draws with the world's own transformer: that of longer buffers has learned no clips."""
        engine = self._engine
        world = self._world
        sampler = engine.sampler
        if world.model_for(engine.partition) is not world.model:
            sampler = Sampler(
                world.model,
                engine.table,
                engine.partition,
                autocast=engine.autocast,
                compiled=False,
            )
        return ClipSampler(sampler)
