"""The spaces of an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from streamdit_gym.actions import ActionLanguage, SpokenBox
from streamdit_gym.envs.backend import MAX_ABS_READOUT
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.world import World


def backend_space(frame_shape: tuple[int, int, int], encoder: World | None) -> spaces.Box[Any]:
    """Return the space of what a backend hands out: frames (h, w, 3) or latents (c, h, w)."""
    if encoder is None:
        return spaces.Box(0, 255, frame_shape, np.uint8)
    codec = encoder.codec
    shape = (codec.channels, *codec.grid)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def observation_space(
    handed_out: spaces.Box[Any], observation: str, encoder: World | None
) -> spaces.Box[Any]:
    """Return the space of one observation."""
    if observation != "state" or encoder is None:
        return handed_out
    shape = (encoder.readout.out.out_features,)
    return spaces.Box(-MAX_ABS_READOUT, MAX_ABS_READOUT, shape, np.float32)


def action_space(actions: str, language: ActionLanguage) -> spaces.Space[Any]:
    """Return the space of one action: a number of the menu, values of the box, or a prompt."""
    if actions == "text":
        return PromptSpace()
    if isinstance(language, SpokenBox):
        return box_space(language)
    return spaces.Discrete(len(language))


def pending_space(language: ActionLanguage, latency_frames: int) -> spaces.Space[Any]:
    """Return the space of as many actions in flight, oldest first."""
    if not isinstance(language, SpokenBox):
        return spaces.MultiDiscrete([len(language)] * latency_frames)
    box = box_space(language)
    low = np.tile(box.low, (latency_frames, 1))
    high = np.tile(box.high, (latency_frames, 1))
    return spaces.Box(low, high, dtype=np.float32)


def box_space(box: SpokenBox) -> spaces.Box[Any]:
    """Return the space of the values of a box."""
    low = np.array(box.low, dtype=np.float32)
    high = np.array(box.high, dtype=np.float32)
    return spaces.Box(low, high, dtype=np.float32)
